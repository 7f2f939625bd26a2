//! Commands that several shards work on: split by key and merged, run everywhere and merged, or run in rounds.
//!
//! An operation belongs to the shard of the connection that sent the command. It sends its parts in the same batches as
//! all other commands, runs its own part on the spot, and when the last reply is in, puts the merged one into the
//! place that the connection has reserved. Parts of one operation are atomic each, not together; here is where ordering
//! across shards will be decided.

use annulus_protocol::{Encoder, Version, elements, parse_error_reply, parse_integer_reply, slot};
use annulus_storage::{DatabaseId, Lsn, ShardId};

use super::Core;
use super::batch::{Call, Message, Request, Target, Work};
use super::connection::Hold;
use super::dispatch::Flow;
use crate::admin::info::ShardCounters;
use crate::commands::{Command, Hop, HopPlan, HopStep, Keyed, Merge, Run, lookup};
use crate::runtime::SocketId;

/// How the parts become one reply.
enum Plan {
    /// Merge them; for `Merge::Array`, the shard of each key in order.
    Merge { merge: Merge, owners: Vec<ShardId> },
    /// Rounds.
    Hops { plan: HopPlan, args: Vec<Vec<u8>>, round: u32 },
    /// Counters of all shards, for INFO about the sections in `args`.
    Counters { args: Vec<Vec<u8>>, counters: Vec<ShardCounters> },
}

/// An operation under way.
pub(super) struct Operation {
    target: Target,
    version: Version,
    database: DatabaseId,
    touches: bool,
    plan: Plan,
    parts: Vec<Vec<u8>>,
    missing: usize,
    /// The highest gate among the parts that ran here. Parts from elsewhere come when their gates are durable there.
    gate: Lsn,
    /// The connection is held until this ends.
    holds: bool,
    /// The outcome of a part will never be known, and the connection is gone.
    lost: bool,
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operation")
            .field("target", &self.target)
            .field("missing", &self.missing)
            .finish_non_exhaustive()
    }
}

impl Core {
    /// Starts a command that one shard can't run alone.
    pub(super) fn start_operation(
        &mut self,
        socket: SocketId,
        command: &'static Command,
        args: &[&[u8]],
    ) -> Flow {
        match command.run {
            Run::Split(keyed, merge) => self.start_split(socket, command, keyed, merge, args),
            Run::Broadcast(keyed, merge) => {
                self.start_broadcast(socket, Work::Keyed(command, keyed), merge, args);
                Flow::Continue
            }
            Run::Hops(plan, _) => self.start_hops(socket, plan, args),
            _ => unreachable!("{} does not run on several shards", command.name),
        }
    }

    /// Reserves the reply's place and registers the operation.
    fn open_operation(&mut self, socket: SocketId, plan: Plan, parts: usize, holds: bool) -> Option<u32> {
        let connection = self.connections.get_mut(socket)?;
        let place = connection.replies.reserve(connection.suppresses_reply());
        if holds {
            connection.hold = Some(Hold::Operation);
        }
        let operation = Operation {
            target: Target::Connection { socket, client: connection.client, place },
            version: connection.session.version,
            database: connection.session.database,
            touches: !connection.session.no_touch,
            plan,
            parts: vec![Vec::new(); parts],
            missing: parts,
            gate: Lsn::ZERO,
            holds,
            lost: false,
        };
        Some(self.operations.insert(operation) as u32)
    }

    fn start_split(
        &mut self,
        socket: SocketId,
        command: &'static Command,
        keyed: Keyed,
        merge: Merge,
        args: &[&[u8]],
    ) -> Flow {
        let step = usize::from(command.keys.step.max(1));
        let mut by_shard: Vec<(ShardId, u16, Vec<&[u8]>)> = Vec::new();
        let mut owners = Vec::new();
        for position in command.keys.positions(args.len()) {
            let slot = slot(args[position]);
            let owner = self.owner(slot);
            owners.push(owner);
            let index = by_shard.iter().position(|(shard, ..)| *shard == owner).unwrap_or_else(|| {
                by_shard.push((owner, slot, vec![args[0]]));
                by_shard.len() - 1
            });
            // A key and what belongs to it: the value of MSET, say.
            by_shard[index].2.extend_from_slice(&args[position..(position + step).min(args.len())]);
        }
        // The parts are numbered in the order of `by_shard`; merging by key needs each key's part.
        let owners = owners
            .iter()
            .map(|owner| ShardId(by_shard.iter().position(|(shard, ..)| shard == owner).unwrap_or(0) as u16))
            .collect();
        let plan = Plan::Merge { merge, owners };
        let Some(index) = self.open_operation(socket, plan, by_shard.len(), false) else { return Flow::Stop };
        for (part, (shard, slot, part_args)) in by_shard.iter().enumerate() {
            self.run_part(index, part as u32, *shard, *slot, Work::Keyed(command, keyed), part_args);
        }
        Flow::Continue
    }

    /// Runs the same on every shard and merges.
    pub(super) fn start_broadcast(&mut self, socket: SocketId, work: Work, merge: Merge, args: &[&[u8]]) {
        let plan = Plan::Merge { merge, owners: Vec::new() };
        let shards = self.shards;
        let Some(index) = self.open_operation(socket, plan, usize::from(shards), false) else { return };
        for shard in 0..shards {
            self.run_part(index, u32::from(shard), ShardId(shard), 0, work, args);
        }
    }

    /// Runs the same on some shards and merges.
    pub(super) fn start_on(
        &mut self,
        socket: SocketId,
        work: Work,
        merge: Merge,
        args: &[&[u8]],
        shards: &[ShardId],
    ) {
        let plan = Plan::Merge { merge, owners: Vec::new() };
        let Some(index) = self.open_operation(socket, plan, shards.len(), false) else { return };
        for (part, shard) in shards.iter().enumerate() {
            self.run_part(index, part as u32, *shard, 0, work, args);
        }
    }

    fn start_hops(&mut self, socket: SocketId, plan: HopPlan, args: &[&[u8]]) -> Flow {
        let args = args.iter().map(|arg| arg.to_vec()).collect();
        let plan = Plan::Hops { plan, args, round: 0 };
        if let Some(index) = self.open_operation(socket, plan, 0, true) {
            self.advance(index);
        }
        let held = self.connections.get_mut(socket).is_some_and(|connection| connection.hold.is_some());
        if held { Flow::Stop } else { Flow::Continue }
    }

    /// Gathers the counters of all shards for INFO.
    pub(super) fn start_info(&mut self, socket: SocketId, args: &[&[u8]]) {
        let args = args.iter().map(|arg| arg.to_vec()).collect();
        let counters = vec![ShardCounters::default(); usize::from(self.shards)];
        let plan = Plan::Counters { args, counters };
        let shards = self.shards;
        let Some(operation) = self.open_operation(socket, plan, usize::from(shards), false) else { return };
        for shard in (0..shards).filter(|&shard| ShardId(shard) != self.id) {
            self.links.send(ShardId(shard), Message::CountersWanted { operation, part: u32::from(shard) });
        }
        let own = Box::new(self.snapshot());
        self.on_counters(operation, u32::from(self.id.0), own);
    }

    /// A shard's counters have come.
    pub(super) fn on_counters(&mut self, index: u32, part: u32, counters: Box<ShardCounters>) {
        let Some(operation) = self.operations.get_mut(index as usize) else { return };
        if let Plan::Counters { counters: all, .. } = &mut operation.plan {
            all[part as usize] = *counters;
        }
        operation.missing -= 1;
        if operation.missing == 0 {
            self.advance(index);
        }
    }

    fn run_part(&mut self, index: u32, part: u32, shard: ShardId, slot: u16, work: Work, args: &[&[u8]]) {
        let Some(operation) = self.operations.get(index as usize) else { return };
        let target = Target::Operation { index, part };
        // Merging reads the parts as RESP2, unless they are only passed on.
        let version = match &operation.plan {
            Plan::Merge { merge: Merge::Array | Merge::Concat | Merge::First, .. } => operation.version,
            _ => Version::Resp2,
        };
        let call = Call { database: operation.database, version, slot, touches: operation.touches };
        if shard != self.id {
            let request = Request { target, work, call, arguments: 0 };
            self.links.request(shard, request, args.iter().copied());
            return;
        }
        let mut reply = Vec::new();
        let gate = match work {
            Work::Keyed(command, keyed) => self.execute(command, keyed, args, call, &mut reply),
            Work::Core(work) => {
                work(self, args, &mut reply);
                Lsn::ZERO
            }
        };
        self.on_part(index, part, &reply, gate);
    }

    /// A part's reply is there.
    pub(super) fn on_part(&mut self, index: u32, part: u32, reply: &[u8], gate: Lsn) {
        let Some(operation) = self.operations.get_mut(index as usize) else { return };
        operation.parts[part as usize] = reply.to_vec();
        operation.gate = operation.gate.max(gate);
        operation.missing -= 1;
        if operation.missing == 0 {
            self.advance(index);
        }
    }

    /// The outcome of a part will never be known, so that of the operation won't be either: it ends with its last part, without a
    /// reply. Returns who has to learn of it.
    pub(super) fn lose_part(&mut self, index: u32) -> Option<Target> {
        let operation = self.operations.get_mut(index as usize)?;
        operation.lost = true;
        operation.missing -= 1;
        let target = operation.target;
        if operation.missing == 0 {
            self.operations.remove(index as usize);
        }
        Some(target)
    }

    /// All parts of a round are there.
    fn advance(&mut self, index: u32) {
        let Some(operation) = self.operations.get_mut(index as usize) else { return };
        if operation.lost {
            self.operations.remove(index as usize);
            return;
        }
        let mut reply = Vec::new();
        match &mut operation.plan {
            Plan::Merge { merge, owners } => {
                let mut out = Encoder::new(&mut reply, operation.version);
                merge_parts(*merge, owners, &operation.parts, &mut out, &mut self.random);
            }
            Plan::Hops { plan, args, round } => {
                let slices: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                let hop = Hop {
                    round: *round,
                    args: &slices,
                    replies: &operation.parts,
                    version: operation.version,
                    database: operation.database,
                    databases: self.store.databases(),
                    bulk_bytes_max: self.settings.proto_max_bulk_len,
                };
                let step = plan(&hop);
                *round += 1;
                match step {
                    HopStep::Reply(bytes) => reply = bytes,
                    HopStep::Send(requests) => {
                        operation.missing = requests.len();
                        operation.parts = vec![Vec::new(); requests.len()];
                        let requests: Vec<Vec<Vec<u8>>> = requests.into_iter().map(|it| it.args).collect();
                        self.send_round(index, &requests);
                        return;
                    }
                }
            }
            Plan::Counters { args, counters } => {
                let (args, counters) = (std::mem::take(args), std::mem::take(counters));
                let version = operation.version;
                self.render_info(&args, &counters, &mut Encoder::new(&mut reply, version));
            }
        }
        self.finish(index, &reply);
    }

    fn send_round(&mut self, index: u32, requests: &[Vec<Vec<u8>>]) {
        for (part, request) in requests.iter().enumerate() {
            let args: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
            let command = args.first().and_then(|name| lookup(name));
            let command = command.expect("a plan requests commands of the table");
            let (Run::Keyed(keyed) | Run::Split(keyed, _) | Run::Hops(_, keyed)) = command.run else {
                unreachable!("a plan requests commands with keys, not {}", command.name)
            };
            let slot = args.get(usize::from(command.keys.first)).map_or(0, |key| slot(key));
            self.run_part(index, part as u32, self.owner(slot), slot, Work::Keyed(command, keyed), &args);
        }
    }

    fn finish(&mut self, index: u32, reply: &[u8]) {
        let operation = self.operations.remove(index as usize);
        if let Target::Connection { socket, client, .. } = operation.target
            && operation.holds
        {
            self.unhold(socket, client, Hold::Operation);
        }
        self.deliver(operation.target, reply, operation.gate);
    }
}

/// The elements of an array reply, which one of our own shards has written.
fn array_elements(part: &[u8]) -> impl Iterator<Item = &[u8]> {
    elements(part).into_iter().flatten().filter_map(Result::ok)
}

fn merge_parts(
    merge: Merge,
    owners: &[ShardId],
    parts: &[Vec<u8>],
    out: &mut Encoder<'_>,
    random: &mut crate::runtime::Rng,
) {
    if let Some(error) = parts.iter().find(|part| parse_error_reply(part).is_some()) {
        out.raw(error);
        return;
    }
    match merge {
        Merge::Sum => out.integer(parts.iter().filter_map(|part| parse_integer_reply(part)).sum()),
        Merge::Ok => out.ok(),
        Merge::First => out.raw(parts.first().map_or(b"".as_slice(), Vec::as_slice)),
        Merge::Array => {
            out.array_header(owners.len());
            let mut elements: Vec<_> = parts.iter().map(|part| array_elements(part)).collect();
            for owner in owners {
                out.raw(elements[owner.index()].next().unwrap_or(b"$-1\r\n"));
            }
        }
        Merge::Concat => {
            out.array_header(parts.iter().map(|part| array_elements(part).count()).sum());
            for element in parts.iter().flat_map(|part| array_elements(part)) {
                out.raw(element);
            }
        }
        Merge::Custom(merge) => merge(parts, out, random),
    }
}
