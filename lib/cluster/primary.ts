// SPDX-License-Identifier: Apache-2.0
import { groupKey } from '../group/key';
import { ListenerGroup } from '../group/listener-group';
import { addressOf } from '../group/name';
import { interceptClose } from '../hook/node';
import type { TcpHandle } from '../hook/tcp';
import { debug } from '../log';
import { Groups } from '../origin/groups';
import { Served } from '../origin/served';
import { Giving } from './giving';
import { Leftovers } from './leftovers';
import { type Member, Members } from './members';
import type { ToMember, ToPrimary } from './messages';
import { PlainUsers } from './plain-users';
import type { ClusterPlan } from './plan';

type Join = Extract<ToPrimary, { kind: 'join' }>;
type Failed = Extract<ToPrimary, { kind: 'failed' }>;

/**
 * The primary of an app that forks cluster workers itself. Node's round robin listens, and goes on as ever; its socket is
 * the first of a listener group, whose others are given to those workers that ask. While any of them serves, the kernel
 * gives new connections to these; else the primary distributes them.
 */
export class ClusterPrimary {
  private readonly groups = new Groups();
  private readonly plain = new PlainUsers();
  private readonly members: Members;
  private readonly served: Served;
  private readonly leftovers: Leftovers;
  private readonly giving: Giving;

  /** @param nextGeneration a number that no group of the process has had */
  constructor(
    private readonly plan: ClusterPlan,
    private readonly nextGeneration: () => number,
  ) {
    const { addon } = plan;
    this.leftovers = new Leftovers(addon);
    this.served = new Served(plan, this.groups, (group) => this.serves(group), {
      workers: () => this.members.given.map(({ index }) => index),
      tell: (index, core, free) => this.place(index, { kind: 'place', core: core ?? null, free }),
    });
    this.members = new Members(addon, plan.first, {
      message: (member, body, handle) => this.message(member, body, handle),
      listens: (member, port) => this.listens(member, port),
      disconnected: (member) => this.disconnected(member),
      ended: (member) => this.ended(member),
    });
    this.giving = new Giving({
      plan,
      groups: this.groups,
      members: this.members,
      balancer: this.served.balancer,
      free: () => this.served.free,
      failed: (member, group, why) => this.leaveToPrimary(member, group, why),
      crowded: () => this.served.crowded(),
    });
  }

  /** The primary is about to bind this port. */
  freePort(port: number): void {
    this.leftovers.freePort(port);
  }

  /**
   * The round robin's handle, bound by this process, listens.
   * @returns libuv's result
   */
  open(handle: TcpHandle, backlog: number, native: (backlog: number) => number): number {
    const { addon, workers, originOnly } = this.plan;
    const bind = addressOf(handle);
    if (bind === undefined) return native(backlog);
    const options = {
      key: groupKey(bind),
      generation: this.nextGeneration(),
      bind,
      handle,
      backlog,
      workers,
      originOnly,
    };
    const group = new ListenerGroup(addon, options);
    const { error, failed } = group.open(options, native);
    if (error < 0) return error;
    if (failed !== undefined || !group.hasProgram) {
      group.closeSiblings();
      debug(
        '%s is left to round robin: %s',
        group.key,
        failed ?? `no steering program (errno ${-group.refused})`,
      );
      return error;
    }
    group.portChosen(bind);
    group.lastGiven = 0;
    addon.seamOwn(handle.fd);
    debug("%s is a listener group of the app's own workers, %d sockets", group.key, group.sockets.length);
    this.groups.add(group);
    this.served.balancer.watch(group);
    interceptClose(handle, (close) => {
      this.close(group);
      close();
    });
    return error;
  }

  /** The last worker has left Node's round robin. */
  private close(group: ListenerGroup): void {
    this.served.balancer.forget(group);
    this.groups.remove(group);
    this.plain.closed(group);
    group.closing = group.closed = true;
    this.leftovers.add(group);
  }

  private message(member: Member, body: ToPrimary, handle: TcpHandle | undefined): void {
    switch (body.kind) {
      case 'join':
        return this.join(member, body);
      case 'ready':
        return this.ready(member, body.name, body.generation);
      case 'closed':
        return this.letGo(member, body.name, body.generation);
      case 'failed':
        return this.failed(member, body);
      case 'arrivals':
        return this.served.arrived(body.cpus);
      case 'displaced':
        return this.served.displaced();
      case 'refused': {
        const group = this.groups.get(body.name);
        if (handle && group) group.handle.onconnection(0, handle);
        else handle?.close();
      }
    }
  }

  private place(index: number, body: ToMember): void {
    const member = this.members.given.find((one) => one.index === index);
    if (member) this.members.tell(member, body);
  }

  private join(member: Member, { name, version }: Join): void {
    const group = this.groups.get(name);
    member.asked.add(name);
    if (!group) return;
    const { addon } = this.plan;
    if (version !== addon.version)
      return this.leaveToPrimary(member, group, `its addon has version ${version}, not ${addon.version}`);
    if (group.hasProgram) this.giving.give(member, group);
    this.count();
  }

  /** The app forks as many as it likes, whenever it likes. */
  private count(): void {
    this.served.balancer.crowded(this.members.live.filter(({ handed }) => handed).length);
    // nobody may be pinned since there were so many at first, some of which do not listen
    this.served.fewer();
  }

  private failed(member: Member, { name, generation, why }: Failed): void {
    this.letGo(member, name, generation);
    const group = this.groups.find(name, generation);
    if (group) this.leaveToPrimary(member, group, why);
  }

  private ready(member: Member, name: string, generation: number): void {
    const group = this.groups.find(name, generation);
    if (!group) return;
    this.plain.left(member.id, group);
    group.ready.add(member.index);
    this.resteer(group);
    // when it has its share: whoever reads this may ask it at once
    debug('worker %d serves %s from socket %d', member.id, name, member.index);
  }

  /** The worker serves no socket of this group, and has no duplicate of one. */
  private letGo({ index }: Member, name: string, generation: number): void {
    this.leftovers.dropped(index, generation);
    const group = this.groups.find(name, generation);
    if (!group) return;
    group.ready.delete(index);
    group.letGo.add(index);
    this.resteer(group);
  }

  /** Whoever is served by round robin needs the primary's socket: the kernel gives everything to that one then. */
  private leaveToPrimary(member: Member, group: ListenerGroup, why: string): void {
    debug('%s is served by round robin: worker %d has no socket of its own (%s)', group.key, member.id, why);
    this.plain.add(member.id, group);
    this.resteer(group);
  }

  /** By way of the primary; whoever asks has done so before. */
  private listens(member: Member, port: number): void {
    for (const group of this.groups)
      if (group.port === port && !member.asked.has(group.key) && !this.asksElsewhere(member, port))
        this.leaveToPrimary(member, group, 'it does not ask for one');
  }

  private asksElsewhere({ asked }: Member, port: number): boolean {
    return [...this.groups].some((group) => group.port === port && asked.has(group.key));
  }

  private resteer(group: ListenerGroup): void {
    this.served.resteer(group);
    if (!group.hasProgram && !this.plain.uses(group)) this.served.resteer(group);
  }

  /** Whether the workers serve it from sockets of their own. */
  private serves(group: ListenerGroup): boolean {
    if (!group.hasProgram) this.withdraw(group);
    return !this.plain.uses(group);
  }

  /** The kernel keeps no program: its hash would choose the primary's socket, too, and those that nobody serves. */
  private withdraw(group: ListenerGroup): void {
    if (this.plain.uses(group)) return;
    debug('%s is served by round robin: the kernel keeps no steering program', group.key);
    this.plain.addAll(group);
    for (const member of this.members.live) {
      if (group.holders.has(member.index) && !group.letGo.has(member.index))
        this.members.tell(member, { kind: 'leave', name: group.key, generation: group.generation });
    }
  }

  private disconnected(member: Member): void {
    for (const group of this.groups) if (group.ready.delete(member.index)) this.resteer(group);
  }

  private ended(member: Member): void {
    for (const group of this.groups) this.plain.left(member.id, group);
    if (member.index > 0) this.vacate(member);
    this.giving.ended(member);
    this.count();
    for (const group of this.groups) this.resteer(group);
  }

  private vacate({ index, seated }: Member): void {
    if (seated) this.served.balancer.vacate(index);
    this.leftovers.dropped(index);
    this.groups.ended(index);
  }
}
