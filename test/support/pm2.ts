// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { addonPath } from './addon';
import { childrenOf, fixture, hook, lives, request, root, until } from './app';
import { temporaryFolder } from './temporary';

/** What fixtures/pm2-app.js says of itself. */
export interface Facts {
  pid: number;
  parent: number;
  instance?: string;
  active: boolean;
  reason?: string;
  /** The CPU that it is pinned to. */
  core?: number;
  accepted: number;
}

/** A process in PM2's list. */
export interface Listed {
  name: string;
  pid: number;
  status: string;
  restarts: number;
  /** Of the last process that has ended. */
  exitCode: number | undefined;
}

/** An app of PM2's; see PM2's "ecosystem file". */
export interface Pm2App {
  name: string;
  port: number;
  /** false: plain Node. */
  hook?: boolean;
  env?: Record<string, string>;
  [option: string]: unknown;
}

const ENDS_WITHIN_MS = 30_000;

/** The process and all that it has started, as far as it lives. */
export function treeOf(pid: number): number[] {
  return lives(pid) ? [pid, ...childrenOf(pid).flatMap(treeOf)] : [];
}

/** A PM2 with a daemon, a folder and logs of its own. */
export class Pm2 {
  private readonly home = temporaryFolder('pm2');
  private readonly env: NodeJS.ProcessEnv;

  constructor(env: Record<string, string> = {}) {
    const clean = Object.entries(process.env).filter(
      ([name]) => !/^(FASTSOCKET|NODE_|PM2_|pm_|pm2_)/.test(name),
    );
    this.env = {
      ...Object.fromEntries(clean),
      // fork mode starts the `node` that it finds
      PATH: `${dirname(process.execPath)}:${process.env['PATH']}`,
      PM2_HOME: this.home,
      PM2_DISCRETE_MODE: 'true',
      PM2_PROGRAMMATIC: 'true',
      PM2_NO_INTERACTION: 'true',
      PM2_KILL_RETRY_TIME: '20',
      FASTSOCKET_WORKERS: '2',
      NODE_DEBUG: 'fastsocket',
      ...env,
    };
    // the test file has taken too long
    process.once('SIGTERM', () => {
      this.killAll();
      process.exit(1);
    });
  }

  get daemon(): number {
    const file = join(this.home, 'pm2.pid');
    return existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0;
  }

  /** What the daemon, its cluster workers' stderr and the apps' logs have said. */
  get log(): string {
    const read = (file: string) => (existsSync(file) ? readFileSync(file, 'utf8') : '');
    return read(join(this.home, 'pm2.log')) + read(join(this.home, 'apps.log'));
  }

  /** Waits until `pattern` stands in the logs so many times. */
  said(pattern: RegExp, count = 1): Promise<RegExpExecArray[]> {
    return until(
      () => {
        const found = [...this.log.matchAll(new RegExp(pattern, 'g'))];
        return found.length >= count && found;
      },
      () => `${count} x ${pattern} in\n${this.log}`,
    );
  }

  /** `pm2 WORDS`; gives its standard output. */
  async run(words: string[], env: Record<string, string> = {}): Promise<string> {
    const child = spawn(process.execPath, [join(root, 'node_modules', 'pm2', 'bin', 'pm2'), ...words], {
      cwd: this.home,
      env: { ...this.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: ENDS_WITHIN_MS,
      killSignal: 'SIGKILL',
    });
    const texts = { out: '', err: '' };
    child.stdout.on('data', (data) => {
      texts.out += data;
    });
    child.stderr.on('data', (data) => {
      texts.err += data;
    });
    // its daemon writes into files
    const [code] = await once(child, 'close');
    assert.equal(code, 0, `pm2 ${words.join(' ')}\n${texts.out}${texts.err}\n${this.log}`);
    return texts.out;
  }

  /** The environment of fixtures/pm2-app.js. */
  appEnv(port: number): Record<string, string> {
    return { PORT: `${port}`, ADDON: addonPath(), API: join(root, 'dist/index.cjs') };
  }

  /** `pm2 start FILE` with these apps in it: fixtures/pm2-app.js, with the flag unless said otherwise. */
  async start(...apps: Pm2App[]): Promise<void> {
    const file = join(this.home, `${apps[0]?.name}.json`);
    const full = apps.map(({ port, hook: hooked = true, env, ...app }) => ({
      script: fixture('pm2-app.js'),
      node_args: hooked ? ['-r', hook] : [],
      out_file: '/dev/null',
      error_file: join(this.home, 'apps.log'),
      merge_logs: true,
      vizion: false,
      pmx: false,
      ...app,
      env: { ...this.appEnv(port), ...env },
    }));
    writeFileSync(file, JSON.stringify({ apps: full }));
    await this.run(['start', file]);
  }

  async list(name?: string): Promise<Listed[]> {
    const text = await this.run(['jlist']);
    interface Entry {
      name: string;
      pid: number;
      pm2_env: { status: string; restart_time: number; exit_code?: number };
    }
    return (JSON.parse(text.slice(text.indexOf('['))) as Entry[])
      .filter((entry) => name === undefined || entry.name === name)
      .map(({ name: of, pid, pm2_env: { status, restart_time, exit_code } }) => ({
        name: of,
        pid,
        status,
        restarts: restart_time,
        exitCode: exit_code,
      }));
  }

  /** What apps say to PM2 from now on by process.send(), as `NAME: WORD`. */
  async hear(t: { after(f: () => void): void }): Promise<string[]> {
    // starts the daemon where there is none
    await this.run(['ping']);
    const child = spawn(process.execPath, [fixture('pm2-bus.js')], {
      env: this.env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.after(() => child.kill('SIGKILL'));
    const heard: string[] = [];
    let ready = false;
    const { createInterface } = await import('node:readline');
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (line === 'hears') ready = true;
      else {
        const { name, raw } = JSON.parse(line) as { name: string; raw: unknown };
        heard.push(`${name}: ${raw}`);
      }
    });
    await until(() => ready, 'the bus');
    return heard;
  }

  /** `pm2 kill`, and the end of all that is left of it. */
  async end(): Promise<void> {
    const { daemon } = this;
    const tree = daemon > 0 ? treeOf(daemon) : [];
    try {
      if (tree.length > 0) process.kill(daemon, 'SIGCONT');
      if (tree.length > 0) await this.run(['kill']);
    } finally {
      this.killAll(tree);
    }
  }

  private killAll(tree = this.daemon > 0 ? treeOf(this.daemon) : []): void {
    for (const pid of [...tree, ...tree.flatMap(treeOf)]) if (lives(pid)) process.kill(pid, 'SIGKILL');
  }
}

export async function facts(port: number): Promise<Facts> {
  const text = await request(port, '/facts');
  return JSON.parse(text.slice(text.indexOf('{'))) as Facts;
}

/** Asks until so many processes have answered; gives what each said last, by pid. */
export async function answerers(
  port: number,
  count: number,
  which: (said: Facts) => boolean = () => true,
): Promise<Facts[]> {
  const by = new Map<number, Facts>();
  await until(
    async () => {
      const said = await facts(port).catch(() => undefined);
      if (said && which(said)) by.set(said.pid, said);
      return by.size >= count;
    },
    () => `${count} processes that answer on port ${port}: ${JSON.stringify([...by.values()])}`,
    20_000,
  );
  return [...by.values()].sort((a, b) => a.pid - b.pid);
}
