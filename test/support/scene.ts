// SPDX-License-Identifier: Apache-2.0
// A tree with fail points whose worker 1 is stopped, or is about to be: its queue is offered to the others.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { lives, until } from './app';
import { allAnswered, askInTurn, askTogether, askUntil, type Count, newCount } from './asking';
import { HOST, start, type Tree } from './balance';
import { Failpoints } from './failpoints';
import { queueOf } from './tcp-table';

/** It stands still when this returns: nothing that comes afterwards is accepted by it. */
export function stop(pid: number): void {
  process.kill(pid, 'SIGSTOP');
  for (const end = Date.now() + 5_000; Date.now() < end && lives(pid) && !isStopped(pid); );
}
export function goOn(pid: number): void {
  try {
    process.kill(pid, 'SIGCONT');
  } catch {
    // it has ended
  }
}
export const isStopped = (pid: number): boolean =>
  /^State:\s+T/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));

export interface Scene extends Tree {
  points: Failpoints;
  victim: number;
  /** The other one of two. */
  thief: number;
}

/** Nobody helps by itself whom it has helped before (native/seam/kept.cc), as one may who is stopped in the middle of a turn. */
const ASKED_ONLY = 'unasked=1@0';

/**
 * A tree in which nothing has happened yet.
 * @param unasked workers may help without being asked: what comes to one that stands still need not wait for it, whatever
 * becomes of the thread
 */
export async function calm(
  t: TestContext,
  named: readonly string[],
  env: Record<string, string> = {},
  workers = 2,
  unasked = false,
): Promise<Scene> {
  const points = new Failpoints();
  const all = unasked ? named : [...named, ASKED_ONLY];
  const tree = await start(t, { hook: points.hook, env: { ...points.environment(all), ...env } }, workers);
  const [victim, thief] = tree.workers as [number, number];
  return { ...tree, points, victim, thief };
}

/** The victim is stopped: its queue is offered. */
export function begin<S extends Scene>(scene: S, only?: number): S {
  stop(scene.victim);
  scene.points.arm(only);
  return scene;
}

export const scene = async (...how: Parameters<typeof calm>): Promise<Scene> => begin(await calm(...how));

/** Without the swap the victim's socket goes on getting its share. */
export const STEAL = { FASTSOCKET_BALANCE: 'steal' };

/** It has its share of new connections. */
export async function shares(port: number, pid: number): Promise<void> {
  await until(
    async () => ((await askInTurn(port, 20, newCount())).by.get(pid) ?? 0) > 0,
    `${pid} has its share`,
  );
}

/** The one that serves instead of another that has ended. */
export async function successor({ app }: Tree, others: readonly number[]): Promise<number> {
  const pid = await until(() => app.workers().find((pid) => !others.includes(pid)), 'a successor');
  return pid;
}

/** All of them are connected, whatever becomes of them. */
export async function connectedTogether(
  port: number,
  times: number,
): Promise<{ asked: Promise<Count>; count: Count }> {
  const count = newCount();
  const asked = askTogether(port, times, count);
  await until(() => count.made === times, 'connections');
  return { asked, count };
}

export async function kill(pid: number): Promise<void> {
  process.kill(pid, 'SIGKILL');
  await until(() => !lives(pid), 'its end');
}

/** Connections that stay open, one question each: whose they are. */
export async function keepAlive(t: TestContext, port: number, times: number): Promise<[number, Socket][]> {
  return Promise.all(
    Array.from({ length: times }, async () => {
      const socket = connect(port, HOST, () => socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'));
      t.after(() => socket.destroy());
      socket.on('error', () => {});
      let text = '';
      socket.on('data', (data) => {
        text += data;
      });
      const pid = await until(() => /^X-Pid: (\d+)\r$/m.exec(text)?.[1], 'an answer');
      return [Number(pid), socket] as [number, Socket];
    }),
  );
}

/** Of those that are asked in turn one waits for the victim, and so nobody else has any; needs ss (whyNoSockets). */
export const waits = ({ port, victim }: Scene): Promise<boolean> =>
  until(async () => (await queueOf(victim, port)) > 0, 'one that waits for the victim');

/** One of those that is this worker's. */
export const keptBy = (t: TestContext, port: number, pid: number): Promise<Socket> =>
  until(async () => (await keepAlive(t, port, 16)).find(([by]) => by === pid)?.[1], `a connection of ${pid}`);

export interface Stats {
  pid: number;
  stolen: number;
  putOff: number;
}

/** What the seam of a worker has counted, over one of its connections: something for its event loop to do. */
export async function stats(own: Socket): Promise<Stats> {
  own.write('GET /stats HTTP/1.1\r\nHost: x\r\n\r\n');
  const [answer] = (await once(own, 'data')) as [Buffer];
  return JSON.parse(/\{.*\}/.exec(answer.toString())?.[0] ?? '') as Stats;
}

/** Its worker has looked at all that it had been offered before, and, where the queue was empty, has let go of it. */
export async function looksAround(own: Socket): Promise<void> {
  for (let turn = 0; turn < 2; turn++) {
    const answer = once(own, 'data');
    own.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await answer;
  }
}

/** What was last said of the victim. */
export const isExcluded = ({ app }: Pick<Tree, 'app'>): boolean =>
  [...app.stderr.matchAll(/worker 1 is (blocked|back)/g)].at(-1)?.[1] === 'blocked';

export const excluded = (scene: Pick<Tree, 'app'>): Promise<boolean> =>
  until(() => isExcluded(scene), 'its exclusion');

/** The victim comes back from an exclusion and takes its action at `point`, or does all of it again: on a busy machine it
 *  may have been excluded already, and be back before what was said of that is read. */
export async function comesBack(tree: Scene, point: string): Promise<void> {
  const { port, points, victim } = tree;
  await until(async () => {
    begin(tree, victim);
    allAnswered(await askUntil(port, excluded(tree)));
    goOn(victim);
    return until(() => points.pids(point)[0] === victim, point, 1_000).catch(() => false);
  }, point);
}

/** A busy machine may have excluded it before. */
export async function included(scene: Pick<Tree, 'app' | 'port'>): Promise<void> {
  await askUntil(
    scene.port,
    until(() => !isExcluded(scene), 'its return'),
  );
}
