// @ts-check
/** The HUD's plots: key-to-frame latencies, and stage times of the newest chunks. */

import { STAGES, quantile } from '../net/latency.js';

const SCALES_MS = [100, 200, 400, 800, 1600, 3200, 6400, 12_800];

/**
 * Draws latencies as points, with lines at the median and the 95th percentile. Returns the top of the scale.
 * @param {HTMLCanvasElement} canvas
 * @param {number[]} samples in ms, oldest first
 */
export function plotTimes(canvas, samples, shown = 60) {
  const { context, width, height, colour } = begin(canvas);
  const points = samples.slice(-shown);
  const top = scaleFor(points);
  const y = (/** @type {number} */ ms) => height - 1 - (ms / top) * (height - 3);
  for (const [share, name] of /** @type {[number, string][]} */ ([[0.95, '--line-strong'], [0.5, '--ink-faint']])) {
    const value = quantile(points, share);
    if (value === null) continue;
    context.fillStyle = colour(name);
    context.fillRect(0, Math.round(y(value)), width, 1);
  }
  context.fillStyle = colour('--dawn');
  points.forEach((ms, i) => context.fillRect(((shown - points.length + i) / shown) * width, y(ms) - 1, Math.max(2, width / shown - 2), 2.5));
  return top;
}

/**
 * Draws the stage times of chunks as stacked columns, with a line at the duration of a chunk. Returns the top of the scale.
 * @param {HTMLCanvasElement} canvas
 * @param {import('../net/latency.js').StageTimes[]} chunks
 * @param {number} budgetMs
 */
export function plotStages(canvas, chunks, budgetMs, shown = 40) {
  const { context, width, height, colour } = begin(canvas);
  const columns = chunks.slice(-shown);
  const top = scaleFor([budgetMs, ...columns.map((chunk) => STAGES.reduce((sum, stage) => sum + chunk[stage], 0))]);
  columns.forEach((chunk, i) => {
    let bottom = height;
    const x = ((shown - columns.length + i) / shown) * width;
    for (const stage of STAGES) {
      const part = (chunk[stage] / top) * height;
      context.fillStyle = colour(`--stage-${stage}`);
      context.fillRect(x, bottom - part, Math.max(1, width / shown - 1), part);
      bottom -= part;
    }
  });
  context.fillStyle = colour('--line-strong');
  context.fillRect(0, Math.round(height - (budgetMs / top) * height), width, 1);
  return top;
}

/**
 * Clears a canvas and scales it to CSS pixels. `colour(name)` returns a custom property of the style sheet.
 * @param {HTMLCanvasElement} canvas
 */
export function begin(canvas) {
  const scale = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  const style = getComputedStyle(canvas);
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height, colour: (/** @type {string} */ name) => style.getPropertyValue(name) };
}

/** @param {number[]} values */
function scaleFor(values) {
  const most = Math.max(0, ...values);
  return SCALES_MS.find((top) => top >= most) ?? most;
}
