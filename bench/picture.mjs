// The picture of where an exchange's time goes: a bar for each part and database.

const NAMES = { sqlite: 'SQLite', postgres: 'PostgreSQL' };
const COLOURS = { sqlite: '#2f6f8f', postgres: '#c07a2c' };
const LEFT = 270;
const WIDTH = 720;
const BAR = 13;
const ROW = 40;
const TOP = 62;

/** @param {Record<string, { cpuMicros: number, micros: Record<string, number> }>} profiles by database */
export function picture(profiles) {
  const targets = Object.keys(profiles);
  const parts = Object.keys(profiles[targets[0]].micros);
  const most = Math.max(...targets.flatMap((target) => Object.values(profiles[target].micros)));
  const width = (micros) => ((micros / most) * (WIDTH - LEFT - 70)).toFixed(1);
  const bars = parts.flatMap((part, row) => [
    `<text x="${LEFT - 12}" y="${TOP + row * ROW + 18}" text-anchor="end">${part}</text>`,
    ...targets.map((target, at) => {
      const [y, micros] = [TOP + row * ROW + at * (BAR + 2), profiles[target].micros[part]];
      const label = `<text class="value" x="${Number(width(micros)) + LEFT + 6}" y="${y + 11}">${micros.toFixed(1)}</text>`;
      return `<rect x="${LEFT}" y="${y}" width="${width(micros)}" height="${BAR}" rx="2" fill="${COLOURS[target]}"/>${label}`;
    }),
  ]);
  const legend = targets.map((target, at) => {
    const x = LEFT + at * 200;
    const sum = `${NAMES[target]}, ${Math.round(profiles[target].cpuMicros)} µs in all`;
    return `<rect x="${x}" y="34" width="12" height="12" rx="2" fill="${COLOURS[target]}"/><text x="${x + 18}" y="44">${sum}</text>`;
  });
  const height = TOP + parts.length * ROW + 6;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-labelledby="title">
<title id="title">Processor time of one exchange by part, in microseconds</title>
<style>
text { font: 13px system-ui, sans-serif; fill: #222 }
.value { font-size: 11px }
.head { font-weight: 600 }
.ground { fill: #fff }
@media (prefers-color-scheme: dark) { text { fill: #e6e6e6 } .ground { fill: #1b1e22 } }
</style>
<rect class="ground" width="100%" height="100%" rx="6"/>
<text class="head" x="16" y="22">Processor time of one exchange, in microseconds</text>
${[...legend, ...bars].join('\n')}
</svg>
`;
}
