/**
 * Enlarges the small picture with crisp edges, on the graphics card. A browser alone blurs every edge over as many pixels
 * of the screen as one of the picture covers. Here each pixel takes its colour from a little further away from the edge it
 * lies at: edges get narrow, and unlike with sharpening no bright or dark lines come up beside them.
 */

const MAX_SCALE = 8; // more pixels than this for one of the picture are no longer seen
/** Names of renderers that are programs on the processor. Browsers hand them out even where asked not to. */
const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i;
const CORNERS = new Float32Array([-1, -1, 3, -1, -1, 3]); // one triangle over everything

const VERTEX = `
attribute vec2 corner;
varying vec2 at;
void main() { at = corner * 0.5 + 0.5; gl_Position = vec4(corner, 0.0, 1.0); }`;

/** How much of an edge there is at each pixel of the picture, from 0 to 1: Scharr's gradient. What is faint is no edge. */
const EDGES = `
precision highp float;
varying vec2 at;
uniform sampler2D picture;
uniform vec2 size;
vec3 column(vec2 p, vec2 along) {
  return 3.0 * texture2D(picture, p - along).rgb + 10.0 * texture2D(picture, p).rgb + 3.0 * texture2D(picture, p + along).rgb;
}
void main() {
  vec2 x = vec2(1.0 / size.x, 0.0), y = vec2(0.0, 1.0 / size.y);
  vec3 across = column(at + x, y) - column(at - x, y), down = column(at + y, x) - column(at - y, x);
  float slope = sqrt(dot(across, across) + dot(down, down)) / 32.0;
  gl_FragColor = vec4(smoothstep(0.005, 0.04, slope) * slope / (slope + 0.03));
}`;

/** The picture on the screen, every pixel from down the slope of EDGES. */
const ENLARGE = `
precision highp float;
varying vec2 at;
uniform sampler2D picture, edges;
uniform vec2 size;
const float WIDE = 1.5, PUSH = 2.5, REACH = 1.5; // in pixels of the picture
/** Cubic B-spline of the edges: bilinear alone would show the picture's grid. */
float edge(vec2 p) {
  vec2 t = p * size - 0.5, f = fract(t), g = 1.0 - f;
  t -= f;
  vec2 w0 = g * g * g / 6.0, w1 = 2.0 / 3.0 - 0.5 * f * f * (2.0 - f), w3 = f * f * f / 6.0, w2 = 1.0 - w0 - w1 - w3;
  vec2 a = w0 + w1, b = w2 + w3, low = (t - 0.5 + w1 / a) / size, high = (t + 1.5 + w3 / b) / size;
  return a.y * (a.x * texture2D(edges, low).r + b.x * texture2D(edges, vec2(high.x, low.y)).r)
    + b.y * (a.x * texture2D(edges, vec2(low.x, high.y)).r + b.x * texture2D(edges, high).r);
}
/** Catmull-Rom of the picture, of five bilinear looks. */
vec3 colour(vec2 p) {
  vec2 t = p * size, centre = floor(t - 0.5) + 0.5, f = t - centre;
  vec2 w0 = f * (-0.5 + f * (1.0 - 0.5 * f)), w1 = 1.0 + f * f * (-2.5 + 1.5 * f), w3 = f * f * (-0.5 + 0.5 * f), w12 = 1.0 - w0 - w3;
  vec2 low = (centre - 1.0) / size, middle = (centre + (w12 - w1) / w12) / size, high = (centre + 2.0) / size;
  vec4 sum = vec4(texture2D(picture, middle).rgb, 1.0) * w12.x * w12.y
    + vec4(texture2D(picture, vec2(middle.x, low.y)).rgb, 1.0) * w12.x * w0.y
    + vec4(texture2D(picture, vec2(low.x, middle.y)).rgb, 1.0) * w0.x * w12.y
    + vec4(texture2D(picture, vec2(high.x, middle.y)).rgb, 1.0) * w3.x * w12.y
    + vec4(texture2D(picture, vec2(middle.x, high.y)).rgb, 1.0) * w12.x * w3.y;
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
 * What enlarges the stage's video from its first picture on, or null: without a graphics card, since a processor would take
 * from the dream what this costs. The address may say otherwise: `?crisp=on` even then, `?crisp=off` never.
 */
export function crispOver(stage) {
  const asked = new URLSearchParams(location.search).get('crisp');
  if (asked === 'off') return null;
  const canvas = document.createElement('canvas');
  const gl = canvas.getContext('webgl', { alpha: false, antialias: false, depth: false, failIfMajorPerformanceCaveat: asked !== 'on' });
  if (!gl) return null;
  if (asked !== 'on' && SOFTWARE.test(rendererOf(gl))) {
    gl.getExtension('WEBGL_lose_context')?.loseContext(); // it need not keep memory until somebody collects it
    return null;
  }
  return new Crisp(stage, canvas, gl);
}

class Crisp {
  #stage;
  #canvas;
  #gl;
  #edging = null;
  #enlarging = null;
  #buffer = null;
  #size = [0, 0];
  #source = null;

  constructor(stage, canvas, gl) {
    this.#stage = stage;
    this.#canvas = canvas;
    this.#gl = gl;
    this.#prepare();
    Object.assign(canvas, { id: 'crisp', ariaHidden: 'true', hidden: true });
    canvas.addEventListener('webglcontextlost', (event) => {
      event.preventDefault(); // or it would never be given back
      canvas.hidden = true; // the video below shows the same
    });
    canvas.addEventListener('webglcontextrestored', () => this.#prepare());
    const video = stage.querySelector('video');
    video.after(canvas);
    for (const type of ['loadeddata', 'seeked']) video.addEventListener(type, () => this.#source === video && this.show(video));
    new ResizeObserver(() => this.#source && this.show(this.#source)).observe(stage);
  }

  /** Shows what `source`, a video or canvas, has on screen now. */
  show(source) {
    const gl = this.#gl;
    const size = [source.videoWidth ?? source.width, source.videoHeight ?? source.height];
    this.#source = source;
    if (gl.isContextLost() || size.includes(0)) return;
    if (source.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return; // in a seek; its end is an event
    this.#fit(size);
    gl.activeTexture(gl.TEXTURE0);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, gl.RGB, gl.UNSIGNED_BYTE, source);
    this.#draw(this.#edging, this.#buffer, size);
    this.#draw(this.#enlarging, null, [this.#canvas.width, this.#canvas.height]);
    this.#canvas.hidden = false;
  }

  /** The canvas has the picture's shape and at least the screen's pixels; styles crop it as they crop the video. */
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

  #draw(program, target, [width, height]) {
    const gl = this.#gl;
    gl.bindFramebuffer(gl.FRAMEBUFFER, target);
    gl.viewport(0, 0, width, height);
    gl.useProgram(program);
    gl.uniform2f(gl.getUniformLocation(program, 'size'), ...this.#size);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  /** Programs, textures and buffers, once more after a lost context. */
  #prepare() {
    const gl = this.#gl;
    this.#size = [0, 0];
    gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, true);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, CORNERS, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
    this.#edging = programOf(gl, EDGES);
    this.#enlarging = programOf(gl, ENLARGE);
    textureAt(gl, gl.TEXTURE0); // the picture
    const edges = textureAt(gl, gl.TEXTURE1);
    this.#buffer = gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.#buffer);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, edges, 0);
    gl.useProgram(this.#enlarging);
    gl.uniform1i(gl.getUniformLocation(this.#enlarging, 'edges'), 1);
  }
}

function rendererOf(gl) {
  const told = gl.getExtension('WEBGL_debug_renderer_info');
  return String(gl.getParameter(told ? told.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
}

function textureAt(gl, unit) {
  const texture = gl.createTexture();
  gl.activeTexture(unit);
  gl.bindTexture(gl.TEXTURE_2D, texture);
  for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, side, gl.CLAMP_TO_EDGE);
  for (const way of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, way, gl.LINEAR);
  return texture;
}

function programOf(gl, fragment) {
  const program = gl.createProgram();
  for (const [type, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.bindAttribLocation(program, 0, 'corner');
  gl.linkProgram(program);
  return program;
}
