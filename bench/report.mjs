// Figures as text: a line each as they come, and tables at the end.

const GOALS = {
  es256: 6_700,
  rs256: 10_000,
  client_credentials: 12_000,
  jwks: 100_000,
};

const columns = [
  ['what', (m) => m.name],
  ['c', (m) => m.connections],
  ['per second', (m) => thousands(m.perSecond)],
  ['p50 ms', (m) => m.p50],
  ['p99 ms', (m) => m.p99],
  ['cpu µs', (m) => m.cpuMicros],
  ['of its core', (m) => `${Math.round(m.cpuShare * 100)} %`],
  ['MiB', (m) => m.memory.now],
  ['failed', (m) => m.failed],
  ['load avg', (m) => m.loadAverage],
];

const WIDTHS = [28, 4, 11, 8, 8, 8, 12, 7, 7, 9];
const padded = (cells) => cells.map((cell, i) => (i ? String(cell).padStart(WIDTHS[i]) : String(cell).padEnd(WIDTHS[i]))).join('');
const thousands = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, ',');

export const row = {
  head: padded(columns.map(([name]) => name)),
  of: (measured) => padded(columns.map(([, value]) => value(measured))),
};

/** Everything, as Markdown. */
export function markdown({ machine, settings, measured, starts, speed, profiles = {} }) {
  const table = (head, rows) =>
    [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
  const parts = [
    `Commit ${machine.commit}; ${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, Node.js ${machine.node}; ` +
      `${settings.ROUNDS} round(s) of ${settings.SECONDS} s, ${thousands(settings.TOKENS)} distinct subject tokens; ` +
      `load average before: ${machine.loadAverage.join(' ')}${machine.realtime ? '; at real-time priority' : ''}.`,
  ];
  if (measured.length > 0) {
    parts.push(table(columns.map(([name]) => name), measured.map((one) => columns.map(([, value]) => value(one)))));
  }
  for (const [target, { cpuMicros, micros }] of Object.entries(profiles)) {
    const rows = Object.entries(micros).map(([part, used]) => [part, used.toFixed(1)]);
    parts.push(table([`${target}: ${cpuMicros} µs an exchange`, 'µs'], rows));
  }
  const goals = Object.entries(GOALS).flatMap(([kind, goal]) =>
    measured
      .filter(({ name, connections }) => name.endsWith(` ${kind}`) && !/^(peer|floor)/.test(name) && connections === 16)
      .map(({ name, perSecond, p99 }) => {
        const peer = measured.find((other) => other.name === `peer ${kind}` && other.connections === 16);
        const times = peer ? `${(perSecond / peer.perSecond).toFixed(1)} x` : '';
        return [name, thousands(goal), thousands(perSecond), perSecond >= goal ? 'reached' : 'not reached', times, p99];
      }),
  );
  if (goals.length > 0) {
    parts.push(table(['at 16 connections', 'goal', 'measured', '', 'of the peer', 'p99 ms (goal 5)'], goals));
  }
  const rest = starts.map((one) => [
    one.name,
    one.coldStartMs ?? '',
    one.idleMib ?? '',
    one.bytesPerExchange ? thousands(one.bytesPerExchange) : '',
  ]);
  if (rest.length > 0) parts.push(table(['', 'first answer ms', 'MiB then', 'bytes of disk an exchange'], rest));
  const speeds = Object.entries(speed).map(([name, { sign, verify }]) => [name, thousands(sign), thousands(verify)]);
  if (speeds.length > 0) parts.push(table(['openssl speed', 'signatures/s', 'verifications/s'], speeds));
  return `${parts.join('\n\n')}\n`;
}
