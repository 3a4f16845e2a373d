// SPDX-License-Identifier: Apache-2.0
// Drawings: several panels of lines over one kind of axis, as SVG. Pure.

export interface Line {
  name: string;
  points: readonly (readonly [x: number, y: number])[];
}

export interface Panel {
  title: string;
  lines: readonly Line[];
}

export interface Chart {
  title: string;
  xName: string;
  /** What stands below the axis where it is not the number itself. */
  xNames?: ReadonlyMap<number, string>;
  /** Its values are above 0: the axis is logarithmic. */
  yName: string;
  /** Panels beside each other. */
  across: number;
  panels: readonly Panel[];
}

const WIDTH = 300;
const HEIGHT = 220;
const MARGIN = { left: 52, right: 12, top: 34, bottom: 40 };
const HEAD = 56;
/** Told apart without colours by their order in the legend, and by most eyes by colour (Okabe and Ito). */
const COLOURS = ['#d55e00', '#0072b2', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000'] as const;
/** Of a name in the legend. */
const ENTRY = { width: 160, height: 16 };
const STEPS = [1, 2, 5] as const;

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
const short = (value: number): string => String(Math.round(value * 10) / 10);
const colour = (index: number): string => COLOURS[index % COLOURS.length] as string;

/** 1, 2 or 5 times a power of ten: from the last that is not above the least value to the first that is not below the greatest. */
export function logTicks(least: number, greatest: number): number[] {
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(least)); ; power++)
    for (const step of STEPS) {
      // 10 ** -1 * 2 is not 0.2, but the text of it is
      const tick = Number(`${step}e${power}`);
      if (tick <= least) ticks.length = 0;
      ticks.push(tick);
      if (tick >= greatest && ticks.length > 1) return ticks;
    }
}

interface Scale {
  x(value: number): number;
  y(value: number): number;
  xTicks: readonly number[];
  yTicks: readonly number[];
}

function scaleOf(panels: readonly Panel[]): Scale {
  const points = panels.flatMap(({ lines }) => lines.flatMap(({ points }) => [...points]));
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  const yTicks = logTicks(Math.min(...ys), Math.max(...ys));
  const [low, high] = [Math.log(yTicks[0] as number), Math.log(yTicks.at(-1) as number)];
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  const width = WIDTH - MARGIN.left - MARGIN.right;
  const height = HEIGHT - MARGIN.top - MARGIN.bottom;
  return {
    x: (value) => MARGIN.left + ((value - left) / (right - left || 1)) * width,
    y: (value) => MARGIN.top + ((high - Math.log(value)) / (high - low)) * height,
    xTicks: [...new Set(xs)].sort((a, b) => a - b),
    yTicks,
  };
}

function text(x: number, y: number, words: string, anchor = 'middle', more = ''): string {
  return `<text x="${short(x)}" y="${short(y)}" text-anchor="${anchor}"${more}>${escaped(words)}</text>`;
}

function panel(
  { title, lines }: Panel,
  { x, y, xTicks, yTicks }: Scale,
  { xName, xNames }: Pick<Chart, 'xName' | 'xNames'>,
): string[] {
  const bottom = HEIGHT - MARGIN.bottom;
  const right = WIDTH - MARGIN.right;
  return [
    text(MARGIN.left, MARGIN.top - 12, title, 'start', ' font-weight="bold"'),
    ...yTicks.flatMap((tick) => [
      `<path d="M${MARGIN.left} ${short(y(tick))}H${right}" stroke="#ddd"/>`,
      text(MARGIN.left - 6, y(tick) + 4, String(tick), 'end'),
    ]),
    ...xTicks.map((tick) => text(x(tick), bottom + 16, xNames?.get(tick) ?? String(tick))),
    text((MARGIN.left + right) / 2, bottom + 32, xName),
    ...lines.flatMap(({ points }, index) => [
      `<polyline fill="none" stroke="${colour(index)}" stroke-width="2" points="${points
        .map(([px, py]) => `${short(x(px))},${short(y(py))}`)
        .join(' ')}"/>`,
      ...points.map(
        ([px, py]) => `<circle cx="${short(x(px))}" cy="${short(y(py))}" r="3" fill="${colour(index)}"/>`,
      ),
    ]),
  ];
}

/** Panels with a value to show, all to the same scale. */
export function svg(chart: Chart): string {
  const { title, yName, across, panels } = chart;
  const shown = panels.filter(({ lines }) => lines.some(({ points }) => points.length > 0));
  const names = [...new Set(shown.flatMap(({ lines }) => lines.map(({ name }) => name)))];
  const width = across * WIDTH;
  const inRow = Math.max(1, Math.floor((width - MARGIN.left) / ENTRY.width));
  const head = HEAD + (Math.ceil(names.length / inRow) - 1) * ENTRY.height;
  const height = head + Math.ceil(shown.length / across) * HEIGHT;
  const scale = scaleOf(shown);
  const legend = names.flatMap((name, index) => {
    const left = MARGIN.left + ENTRY.width * (index % inRow);
    const top = 40 + ENTRY.height * Math.floor(index / inRow);
    return [
      `<path d="M${left} ${top}h20" stroke="${colour(index)}" stroke-width="2"/>`,
      text(left + 26, top + 4, name, 'start'),
    ];
  });
  const groups = shown.map((one, index) => {
    const [left, top] = [(index % across) * WIDTH, head + Math.floor(index / across) * HEIGHT];
    return `<g transform="translate(${left} ${top})">\n${panel(one, scale, chart).join('\n')}\n</g>`;
  });
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="sans-serif" font-size="11">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    text(MARGIN.left, 20, `${title}: ${yName}`, 'start', ' font-size="14"'),
    ...legend,
    ...groups,
    '</svg>',
  ].join('\n')}\n`;
}
