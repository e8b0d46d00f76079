// @ts-check
/**
 * Edge-directed upscaling in WebGL. A browser blurs every edge over as many screen pixels as one video pixel covers. Here
 * each pixel takes its colour from a little further away from the edge that it lies at (image warping): edges get narrow
 * and, unlike with sharpening, without bright or dark lines beside them.
 */

const MAX_SCALE = 8; // screen pixels a video pixel; more are not visible
/** Renderers that run on the CPU. Browsers return them even where asked not to. */
const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i;
const CORNERS = new Float32Array([-1, -1, 3, -1, -1, 3]); // one triangle over everything

const VERTEX = `
attribute vec2 corner;
varying vec2 at;
void main() { at = corner * 0.5 + 0.5; gl_Position = vec4(corner, 0.0, 1.0); }`;

/** Edge strength of each video pixel, from 0 to 1: magnitude of Scharr's gradient, without faint slopes. */
const EDGES = `
precision highp float;
varying vec2 at;
uniform sampler2D frame;
uniform vec2 size;
vec3 column(vec2 p, vec2 along) {
  return 3.0 * texture2D(frame, p - along).rgb + 10.0 * texture2D(frame, p).rgb + 3.0 * texture2D(frame, p + along).rgb;
}
void main() {
  vec2 x = vec2(1.0 / size.x, 0.0), y = vec2(0.0, 1.0 / size.y);
  vec3 across = column(at + x, y) - column(at - x, y), down = column(at + y, x) - column(at - y, x);
  float slope = sqrt(dot(across, across) + dot(down, down)) / 32.0;
  gl_FragColor = vec4(smoothstep(0.005, 0.04, slope) * slope / (slope + 0.03));
}`;

/** The upscaled frame: every pixel is read from further down the slope of EDGES. */
const ENLARGE = `
precision highp float;
varying vec2 at;
uniform sampler2D frame, edges;
uniform vec2 size;
const float WIDE = 1.5, PUSH = 2.5, REACH = 1.5; // in video pixels
/** Cubic B-spline of the edges: bilinear alone would show the pixel grid. */
float edge(vec2 p) {
  vec2 t = p * size - 0.5, f = fract(t), g = 1.0 - f;
  t -= f;
  vec2 w0 = g * g * g / 6.0, w1 = 2.0 / 3.0 - 0.5 * f * f * (2.0 - f), w3 = f * f * f / 6.0, w2 = 1.0 - w0 - w1 - w3;
  vec2 a = w0 + w1, b = w2 + w3, low = (t - 0.5 + w1 / a) / size, high = (t + 1.5 + w3 / b) / size;
  return a.y * (a.x * texture2D(edges, low).r + b.x * texture2D(edges, vec2(high.x, low.y)).r)
    + b.y * (a.x * texture2D(edges, vec2(low.x, high.y)).r + b.x * texture2D(edges, high).r);
}
/** Catmull-Rom of the frame, of five bilinear samples. */
vec3 colour(vec2 p) {
  vec2 t = p * size, centre = floor(t - 0.5) + 0.5, f = t - centre;
  vec2 w0 = f * (-0.5 + f * (1.0 - 0.5 * f)), w1 = 1.0 + f * f * (-2.5 + 1.5 * f), w3 = f * f * (-0.5 + 0.5 * f), w12 = 1.0 - w0 - w3;
  vec2 low = (centre - 1.0) / size, middle = (centre + (w12 - w1) / w12) / size, high = (centre + 2.0) / size;
  vec4 sum = vec4(texture2D(frame, middle).rgb, 1.0) * w12.x * w12.y
    + vec4(texture2D(frame, vec2(middle.x, low.y)).rgb, 1.0) * w12.x * w0.y
    + vec4(texture2D(frame, vec2(low.x, middle.y)).rgb, 1.0) * w0.x * w12.y
    + vec4(texture2D(frame, vec2(high.x, middle.y)).rgb, 1.0) * w3.x * w12.y
    + vec4(texture2D(frame, vec2(middle.x, high.y)).rgb, 1.0) * w12.x * w3.y;
  return sum.rgb / sum.a;
}
void main() {
  vec2 x = vec2(WIDE / size.x, 0.0), y = vec2(0.0, WIDE / size.y);
  vec2 up = vec2(edge(at + x) - edge(at - x), edge(at + y) - edge(at - y));
  float much = PUSH * length(up);
  vec2 from = much > 1e-4 ? at - up / length(up) * REACH * (1.0 - exp(-much / REACH)) / size : at;
  gl_FragColor = vec4(colour(from), 1.0);
}`;

/**
 * Returns an upscaler of the stage's video, or null without a GPU: on a CPU it would slow the model down. The address may
 * ask for it (`?crisp=on`) or forbid it (`?crisp=off`).
 * @param {HTMLElement} stage
 */
export function createUpscaler(stage) {
  const asked = new URLSearchParams(location.search).get('crisp');
  if (asked === 'off') return null;
  const canvas = document.createElement('canvas');
  const gl = canvas.getContext('webgl', { alpha: false, antialias: false, depth: false, failIfMajorPerformanceCaveat: asked !== 'on' });
  if (!gl) return null;
  if (asked !== 'on' && SOFTWARE.test(rendererOf(gl))) {
    gl.getExtension('WEBGL_lose_context')?.loseContext(); // frees its memory before the garbage collector does
    return null;
  }
  return new Upscaler(stage, canvas, gl);
}

class Upscaler {
  /** @type {HTMLElement} */
  #stage;
  /** @type {HTMLCanvasElement} */
  #canvas;
  /** @type {WebGLRenderingContext} */
  #gl;
  /** @type {WebGLProgram | null} */
  #edgeProgram = null;
  /** @type {WebGLProgram | null} */
  #upscaleProgram = null;
  /** @type {WebGLFramebuffer | null} */
  #buffer = null;
  /** @type {[number, number]} */
  #size = [0, 0];
  /** @type {HTMLVideoElement | HTMLCanvasElement | null} */
  #source = null;

  /**
   * @param {HTMLElement} stage
   * @param {HTMLCanvasElement} canvas
   * @param {WebGLRenderingContext} gl
   */
  constructor(stage, canvas, gl) {
    this.#stage = stage;
    this.#canvas = canvas;
    this.#gl = gl;
    this.#prepare();
    Object.assign(canvas, { id: 'upscaled', ariaHidden: 'true', hidden: true });
    canvas.addEventListener('webglcontextlost', (event) => {
      event.preventDefault(); // else the context is never restored
      canvas.hidden = true; // the video below shows the same
    });
    canvas.addEventListener('webglcontextrestored', () => this.#prepare());
    const video = /** @type {HTMLVideoElement} */ (stage.querySelector('video'));
    video.after(canvas);
    for (const type of ['loadeddata', 'seeked']) video.addEventListener(type, () => this.#source === video && this.show(video));
    new ResizeObserver(() => this.#source && this.show(this.#source)).observe(stage);
  }

  /**
   * Shows the frame that a video or canvas has on screen now.
   * @param {HTMLVideoElement | HTMLCanvasElement} source
   */
  show(source) {
    const gl = this.#gl;
    const isVideo = source instanceof HTMLVideoElement;
    /** @type {[number, number]} */
    const size = isVideo ? [source.videoWidth, source.videoHeight] : [source.width, source.height];
    this.#source = source;
    if (gl.isContextLost() || size.includes(0)) return;
    if (isVideo && source.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return; // during a seek; its end is an event
    this.#fit(size);
    gl.activeTexture(gl.TEXTURE0);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, gl.RGB, gl.UNSIGNED_BYTE, source);
    this.#draw(this.#edgeProgram, this.#buffer, size);
    this.#draw(this.#upscaleProgram, null, [this.#canvas.width, this.#canvas.height]);
    this.#canvas.hidden = false;
  }

  /**
   * Sizes the canvas to the video's aspect ratio and at least the screen's pixels; styles crop it as they crop the video.
   * @param {[number, number]} size
   */
  #fit([width, height]) {
    const canvas = this.#canvas;
    const gl = this.#gl;
    const filling = window.devicePixelRatio * Math.max(this.#stage.clientWidth / width, this.#stage.clientHeight / height);
    const scale = Math.min(MAX_SCALE, Math.max(1, filling));
    const [wide, high] = [Math.round(width * scale), Math.round(height * scale)];
    if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
    if (this.#size[0] === width && this.#size[1] === height) return;
    this.#size = [width, height];
    gl.activeTexture(gl.TEXTURE1);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, width, height, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
  }

  /**
   * @param {WebGLProgram | null} program
   * @param {WebGLFramebuffer | null} target
   * @param {[number, number]} size
   */
  #draw(program, target, [width, height]) {
    if (!program) return;
    const gl = this.#gl;
    gl.bindFramebuffer(gl.FRAMEBUFFER, target);
    gl.viewport(0, 0, width, height);
    gl.useProgram(program);
    gl.uniform2f(gl.getUniformLocation(program, 'size'), ...this.#size);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  /** Makes programs, textures and buffers; again after a lost context. */
  #prepare() {
    const gl = this.#gl;
    this.#size = [0, 0];
    gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, true);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, CORNERS, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
    this.#edgeProgram = programOf(gl, EDGES);
    this.#upscaleProgram = programOf(gl, ENLARGE);
    textureAt(gl, gl.TEXTURE0); // the frame
    const edges = textureAt(gl, gl.TEXTURE1);
    this.#buffer = gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.#buffer);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, edges, 0);
    gl.useProgram(this.#upscaleProgram);
    gl.uniform1i(gl.getUniformLocation(this.#upscaleProgram, 'edges'), 1);
  }
}

/** @param {WebGLRenderingContext} gl */
function rendererOf(gl) {
  const told = gl.getExtension('WEBGL_debug_renderer_info');
  return String(gl.getParameter(told ? told.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
}

/**
 * @param {WebGLRenderingContext} gl
 * @param {number} unit
 */
function textureAt(gl, unit) {
  const texture = gl.createTexture();
  gl.activeTexture(unit);
  gl.bindTexture(gl.TEXTURE_2D, texture);
  for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, side, gl.CLAMP_TO_EDGE);
  for (const way of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, way, gl.LINEAR);
  return texture;
}

/**
 * @param {WebGLRenderingContext} gl
 * @param {string} fragment
 */
function programOf(gl, fragment) {
  const program = gl.createProgram();
  for (const [type, text] of /** @type {[number, string][]} */ ([[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, fragment]])) {
    const shader = gl.createShader(type);
    if (!shader) continue; // the context is lost
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.bindAttribLocation(program, 0, 'corner');
  gl.linkProgram(program);
  return program;
}
