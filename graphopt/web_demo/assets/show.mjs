// How the page shows what the worker found: texts of numbers, the chart, pictures, rows of tables.

import { elements } from './message.mjs';

const DIGITS = 3;

/** '12.3 ms' */
export function time(ms) {
  const [size, unit] = ms >= 1000 ? [1000, 's'] : ms >= 1 ? [1, 'ms'] : [1e-3, 'µs'];
  return `${Number((ms / size).toPrecision(DIGITS)).toLocaleString('en')} ${unit}`;
}

/** '12.3 MiB' */
export function size(bytes) {
  for (const unit of ['B', 'KiB', 'MiB', 'GiB']) {
    if (bytes < 1024 || unit === 'GiB') return `${unit === 'B' ? bytes : bytes.toFixed(1)} ${unit}`;
    bytes /= 1024;
  }
}

/** '3.1e-7', or 0 */
export function apart(x) {
  return x === 0 ? '0' : x === Infinity ? '∞' : x.toExponential(1);
}

/** A number of sorted ones below which the part `q` of them lies. */
export function quantile(sorted, q) {
  const at = (sorted.length - 1) * q;
  const [low, high] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  return low + (high - low) * (at - Math.floor(at));
}

/** {low, median, high}: the middle half of the numbers. */
export function middle(numbers) {
  const sorted = Float64Array.from(numbers).sort();
  return { low: quantile(sorted, 0.25), median: quantile(sorted, 0.5), high: quantile(sorted, 0.75) };
}

/** An element with attributes and children; text stays text. */
export function element(name, attributes = {}, ...children) {
  const made = name.startsWith('svg:') ? document.createElementNS('http://www.w3.org/2000/svg', name.slice(4)) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** A table's rows: of each the first cell is its head. */
export function rows(table, data) {
  const cell = (content, i) => {
    if (content instanceof Element && content.matches('td')) return content;
    return element(i ? 'td' : 'th', i ? {} : { scope: 'row' }, content);
  };
  table.tBodies[0].replaceChildren(...data.map((cells) => element('tr', {}, ...cells.map(cell))));
}

/** '22.1 → 17.7 KiB', or one of them where both are the same */
export function sizes(before, after) {
  const [a, b] = [size(before), size(after)];
  const unit = (text) => text.split(' ')[1];
  return a === b ? b : `${unit(a) === unit(b) ? a.split(' ')[0] : a} → ${b}`;
}

/** Runs as dots on an axis of milliseconds, one row for each model, with the middle half and the median. */
export function chart(times, width) {
  const [left, right, row] = [76, 14, 40];
  const names = Object.keys(times);
  const all = Float64Array.from(names.flatMap((n) => times[n])).sort();
  const usual = Math.max(...names.map((n) => middle(times[n]).high));
  const most = Math.min(all.at(-1), 2.5 * usual) * 1.08; // what lies further out is drawn at the edge
  const x = (ms) => left + (width - left - right) * Math.min(1, ms / most);
  const height = row * names.length + 22;
  const drawn = element('svg:svg', { width, height, role: 'img', 'aria-label': 'Milliseconds of every run; the table below has the figures' });
  for (const t of ticks(most)) {
    drawn.append(
      element('svg:line', { class: 'tick', x1: x(t), x2: x(t), y1: 4, y2: height - 18 }),
      element('svg:text', { x: x(t), y: height - 5, 'text-anchor': 'middle' }, t ? time(t) : '0'),
    );
  }
  names.forEach((name, i) => {
    const y = 4 + row * i + row / 2;
    const { low, median, high } = middle(times[name]);
    drawn.append(
      element('svg:text', { class: 'name', x: 0, y: y + 4 }, name),
      element('svg:rect', { class: `half ${name}`, x: x(low), y: y - 15, width: Math.max(1, x(high) - x(low)), height: 30 }),
    );
    const step = Math.ceil(times[name].length / 600);
    times[name].forEach((ms, k) => {
      if (k % step) return;
      drawn.append(element('svg:circle', { class: name, cx: x(ms), cy: y + (((k * 0.618034) % 1) - 0.5) * 22, r: 2.6 }));
    });
    drawn.append(element('svg:line', { class: `median ${name}`, x1: x(median), x2: x(median), y1: y - 16, y2: y + 16 }));
  });
  return drawn;
}

function ticks(most) {
  const rough = most / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= rough);
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, i) => i * step);
}

/** An input with its shape, what its values are like, and as a picture where it looks like one. */
export function input({ name, type, dims, text }, bytes) {
  const shape = dims.length ? `[${dims.join(' × ')}]` : 'scalar';
  const figure = element('figure', {}, element('figcaption', {}, element('b', {}, name), ` ${type} ${shape}`));
  if (type === 'string') {
    figure.append(element('code', {}, list(text.map((t) => JSON.stringify(t)))));
    return figure;
  }
  const data = elements(type, bytes);
  const layout = type === 'float32' || type === 'uint8' ? image(dims) : null;
  if (layout) figure.append(picture(data, layout, `The input ${name} as an image`));
  else if (type === 'float16' && data instanceof Uint16Array) figure.append(element('code', {}, 'in half precision'));
  else figure.append(element('code', {}, list(Array.from(data.slice(0, 9), (v) => (type === 'bool' ? Boolean(v) : shortly(v))), data.length)));
  return figure;
}

const shortly = (v) => (typeof v === 'bigint' || Number.isInteger(v) ? String(v) : String(Number(v.toPrecision(3))));
const list = (values, count = values.length) => values.slice(0, 8).join(', ') + (count > 8 ? `, … (${count.toLocaleString('en')} in all)` : '');

/** Where an image's height, width and channels lie, if dims look like one: of the first in the batch. */
function image(dims) {
  const d = dims.length === 4 ? dims.slice(1) : dims.length === 3 ? dims : [];
  const colours = (n) => n === 1 || n === 3 || n === 4;
  if (colours(d[0]) && Math.min(d[1], d[2]) >= 8) return { channels: d[0], height: d[1], width: d[2], of: [d[1] * d[2], d[2], 1] };
  if (colours(d[2]) && Math.min(d[0], d[1]) >= 8) return { channels: d[2], height: d[0], width: d[1], of: [1, d[1] * d[2], d[2]] };
  return null;
}

function picture(data, { channels, height, width, of }, label) {
  let [low, high] = [Infinity, -Infinity];
  const count = channels * height * width;
  for (let i = 0; i < count; i++) [low, high] = [Math.min(low, data[i]), Math.max(high, data[i])];
  const canvas = element('canvas', { width, height, role: 'img', 'aria-label': label });
  const pixels = new ImageData(width, height);
  for (let y = 0, p = 0; y < height; y++) {
    for (let x = 0; x < width; x++, p += 4) {
      for (let c = 0; c < 4; c++) {
        const value = data[(channels === 1 ? 0 : c) * of[0] + y * of[1] + x * of[2]];
        pixels.data[p + c] = c === 3 && channels < 4 ? 255 : ((value - low) / (high - low || 1)) * 255;
      }
    }
  }
  canvas.getContext('2d').putImageData(pixels, 0, 0);
  return canvas;
}
