// SPDX-License-Identifier: Apache-2.0
import type { ServerInside } from '../hook/tcp';

/** A shared socket as the origin knows it. */
export interface SharedName {
  key: string;
  generation: number;
}

interface Ending extends SharedName {
  server: ServerInside;
  /** The origin waits for its last connection. */
  awaited: boolean;
}

/** Servers on paths that have closed here, whose connections may live on. */
export class SharedEndings {
  private readonly endings = new Set<Ending>();

  /** @param served the last connection of this server has ended; @param changed one fewer is left */
  constructor(
    private readonly served: (name: SharedName) => void,
    private readonly changed: () => void,
  ) {}

  get size(): number {
    return this.endings.size;
  }

  begin({ key, generation }: SharedName, server: ServerInside): void {
    const ending = { key, generation, server, awaited: false };
    this.endings.add(ending);
    server.once('close', () => this.end(ending));
  }

  /** The app listens with it again: its 'close' will be that of another socket. */
  reopened(server: ServerInside): void {
    for (const ending of [...this.endings]) if (ending.server === server) this.end(ending);
  }

  /** The origin has closed this socket. */
  await(name: SharedName): void {
    const ending = [...this.endings].find(
      ({ key, generation }) => key === name.key && generation === name.generation,
    );
    if (ending) ending.awaited = true;
    else this.served(name);
  }

  private end(ending: Ending): void {
    if (!this.endings.delete(ending)) return;
    const { key, generation, awaited } = ending;
    if (awaited) this.served({ key, generation });
    this.changed();
  }
}
