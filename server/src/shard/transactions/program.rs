//! The commands of one transaction, in order: one command that needs rounds, or what stands between MULTI and EXEC.
//!
//! Where no command needs another's outcome on another shard, each shard gets all of its commands with its part, and runs them in one
//! go. Otherwise the program runs in rounds under the locks: neighbours that don't need each other share a round.

use annulus_protocol::{Encoder, Version, slot};
use annulus_storage::{DatabaseId, ShardId};
use smallvec::SmallVec;

use super::coordinator::Draft;
use super::locks::LockRequest;
use super::multi::{Shown, Watched};
use super::{LIBRARIES, LockKey, Mode};
use crate::commands::{
    Arguments, Command, Flags, Hop, HopPlan, HopRequest, HopStep, Keyed, Merge, Run, Waiting, cursor_group,
    lookup,
};
use crate::runtime::Rng;
use crate::shard::Core;
use crate::shard::batch::{Call, Origin, Request, Target, Work};
use crate::shard::notify::looks_in;
use crate::shard::operations::{Owners, merge_parts, merge_version};
use crate::shard::scripts::{Message, Running};

/// On what terms a program runs.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Terms {
    pub(in super::super) operation: u32,
    pub(in super::super) version: Version,
    pub(in super::super) database: DatabaseId,
    pub(in super::super) touches: bool,
    pub(in super::super) origin: Origin,
    pub(in super::super) bulk_bytes_max: u64,
    pub(in super::super) databases: u16,
}

/// How one command runs.
enum Way {
    /// On one shard, which owns all its keys.
    One(Keyed, u16),
    /// On the shards of its keys.
    Split { keyed: Keyed, merge: Merge, owners: Owners, parts: Vec<(ShardId, u16, Arguments)> },
    /// On all shards.
    Whole { keyed: Keyed, merge: Merge },
    /// In rounds of its own.
    Hops { plan: HopPlan, round: u32, earlier: Vec<Vec<Vec<u8>>> },
    /// By the connection's shard.
    Serve,
    /// A script, which says itself what comes next.
    Script,
}

struct Item {
    command: &'static Command,
    args: Arguments,
    database: DatabaseId,
    way: Way,
}

/// What comes next in a program.
pub(in super::super) enum Step {
    /// A script, beginning now.
    Script,
    /// These, all at once.
    Round(Vec<RoundRequest>),
    /// The rounds are over: the locks may go.
    Conclude,
    /// The reply.
    Reply(Vec<u8>),
}

/// One request of a round; its target is the round's place for it.
#[derive(Debug)]
pub(in super::super) enum RoundRequest {
    /// To the owner of the call's slot.
    Keyed(Request, Arguments),
    /// To this shard.
    On(ShardId, Request, Arguments),
    /// To the connection itself.
    Serve(Arguments),
}

/// See the module's documentation.
#[derive(Default)]
pub(in super::super) struct Program {
    exec: bool,
    commands: Vec<(&'static Command, Arguments)>,
    watched: Vec<Watched>,
    /// For monitors, at its end.
    pub(in super::super) shown: Shown,
    items: Vec<Item>,
    rounds: bool,
    terms: Terms,
    /// Items whose replies are being waited for: from the first one without a reply, so many.
    awaited: usize,
    replies: Vec<Vec<u8>>,
    concluded: bool,
    shards: u16,
    /// The script that is running.
    pub(in super::super) script: Option<Box<Running>>,
    /// Scripts have run commands that may write.
    pub(in super::super) wrote: bool,
    /// Scripts have done what cannot be undone.
    pub(in super::super) is_final: bool,
    /// A script stands beside commands that perhaps can't be undone.
    pub(in super::super) stands_beside: bool,
    /// It has the locks of all keys of all shards.
    pub(in super::super) has_all: bool,
    /// Messages that leave when it has ended.
    pub(in super::super) messages: Vec<Message>,
    /// What it has wanted in vain before it began again, and how often it did.
    wanted: Vec<(ShardId, LockRequest)>,
    attempts: u32,
    /// Who waits if there's nothing.
    waiter: Option<(ShardId, u64)>,
    /// There was nothing; the arguments to wait with.
    waits: Option<Arguments>,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.items.iter().map(|item| item.command.name).collect();
        f.debug_struct("Program").field("commands", &names).finish_non_exhaustive()
    }
}

impl Program {
    /// One command.
    pub(in super::super) fn single(command: &'static Command, args: &[&[u8]]) -> Program {
        let args = args.iter().map(|arg| arg.to_vec()).collect();
        Program { commands: vec![(command, args)], ..Program::default() }
    }

    /// One command that waits, under this number of this shard, if it finds nothing.
    pub(in super::super) fn waiting(
        command: &'static Command,
        args: Arguments,
        waiter: (ShardId, u64),
    ) -> Program {
        Program { commands: vec![(command, args)], waiter: Some(waiter), ..Program::default() }
    }

    /// The number of the command that waits, as there was nothing, and with which arguments.
    pub(in super::super) fn take_waits(&mut self) -> Option<(u64, Arguments)> {
        self.waiter.map(|(_, number)| number).zip(self.waits.take())
    }

    /// What stood between MULTI and EXEC, if no watched key has changed.
    pub(in super::super) fn exec(
        commands: Vec<(&'static Command, Arguments)>,
        watched: Vec<Watched>,
        shown: Shown,
    ) -> Program {
        Program { exec: true, commands, watched, shown, ..Program::default() }
    }

    /// The keys that its connection has watched.
    pub(in super::super) fn take_watched(&mut self) -> Vec<Watched> {
        std::mem::take(&mut self.watched)
    }

    /// Whether it came with EXEC.
    pub(in super::super) fn is_exec(&self) -> bool {
        self.exec
    }

    /// Sets on what terms it runs.
    pub(in super::super) fn set_terms(&mut self, terms: Terms) {
        self.terms = terms;
    }

    /// Whether any of its commands is a script.
    pub(in super::super) fn has_scripts(&self) -> bool {
        self.items.iter().any(|item| matches!(item.way, Way::Script))
    }

    /// The terms on which it runs.
    pub(in super::super) fn terms(&self) -> Terms {
        self.terms
    }

    /// The command whose turn it is.
    pub(in super::super) fn current(&self) -> (&'static Command, &Arguments) {
        let item = &self.items[self.replies.len()];
        (item.command, &item.args)
    }

    /// The script whose turn it was has ended.
    pub(in super::super) fn end_script(&mut self, reply: Vec<u8>) {
        self.script = None;
        self.replies.push(reply);
    }

    /// It runs as a part of another one, which has the locks and decides when they go: in rounds.
    pub(in super::super) fn run_within(&mut self) {
        self.rounds = true;
        self.awaited = 0;
    }

    /// Nothing has happened, and it wants more, or after some attempts everything.
    pub(in super::super) fn begin_again(
        &mut self,
        wanted: Vec<(ShardId, LockRequest)>,
        all: bool,
        attempts_max: u32,
    ) {
        self.wanted.extend(wanted);
        self.attempts += 1;
        self.has_all = all || self.attempts >= attempts_max;
        self.replies.clear();
        self.messages.clear();
        self.awaited = 0;
        self.wrote = false;
        for item in &mut self.items {
            if let Way::Hops { round, earlier, .. } = &mut item.way {
                *round = 0;
                earlier.clear();
            }
        }
    }

    /// How many replies come at first.
    pub(in super::super) fn parts(&self) -> usize {
        if self.rounds { 0 } else { self.items.iter().map(|item| item.places(self.shards)).sum() }
    }

    /// The commands for the connection itself, with their places; taken once.
    pub(in super::super) fn take_served(&mut self) -> Vec<(u32, Arguments)> {
        let mut place = 0;
        let mut served = Vec::new();
        if self.rounds {
            return served;
        }
        for item in &mut self.items {
            if matches!(item.way, Way::Serve) {
                served.push((place as u32, std::mem::take(&mut item.args)));
            }
            place += item.places(self.shards);
        }
        served
    }

    /// Takes in what has come, and says what is next.
    pub(in super::super) fn advance(&mut self, parts: &[Vec<u8>], random: &mut Rng) -> Step {
        if self.concluded {
            return Step::Reply(self.reply());
        }
        let mut parts = self.take_replies(parts, random);
        loop {
            let first = self.replies.len();
            let Some(item) = self.items.get_mut(first) else { break };
            if matches!(item.way, Way::Script) {
                return Step::Script;
            }
            if let Way::Hops { plan, round, earlier } = &mut item.way {
                let step = hop(
                    *plan,
                    (*round, earlier.as_slice()),
                    (&item.args, item.database),
                    self.waiter,
                    self.terms,
                    &parts,
                );
                if *round > 0 {
                    earlier.push(std::mem::take(&mut parts));
                }
                *round += 1;
                match step {
                    HopStep::Reply(reply) => self.replies.push(reply),
                    HopStep::Wait { requests, with } => {
                        self.waits = Some(with.unwrap_or_else(|| item.args.clone()));
                        // Nobody gets to see it.
                        self.replies.push(Vec::new());
                        return self.round_of_hops(first, requests);
                    }
                    HopStep::Send(requests) => return self.round_of_hops(first, requests),
                }
                parts.clear();
                continue;
            }
            let alone = |it: &&Item| !matches!(it.way, Way::Hops { .. } | Way::Script);
            let neighbours = self.items[first..].iter().take_while(alone);
            self.awaited = neighbours.count();
            return Step::Round((first..first + self.awaited).flat_map(|it| self.round_of(it)).collect());
        }
        if self.rounds {
            self.concluded = true;
            return Step::Conclude;
        }
        Step::Reply(self.reply())
    }

    /// Makes replies of the parts that were awaited. What is left belongs to a command in rounds.
    fn take_replies(&mut self, parts: &[Vec<u8>], random: &mut Rng) -> Vec<Vec<u8>> {
        let mut from = 0;
        let first = self.replies.len();
        for item in &self.items[first..first + self.awaited] {
            let mine = &parts[from..from + item.places(self.shards)];
            from += mine.len();
            self.replies.push(item.reply(mine, self.terms.version, random));
        }
        self.awaited = 0;
        parts[from..].to_vec()
    }

    fn reply(&mut self) -> Vec<u8> {
        let mut reply = Vec::new();
        if self.exec {
            Encoder::new(&mut reply, self.terms.version).array_header(self.replies.len());
        }
        for each in &self.replies {
            reply.extend_from_slice(each);
        }
        reply
    }

    fn call(&self, item: usize, version: Version) -> Call {
        let Terms { touches, origin, .. } = self.terms;
        Call { database: self.items[item].database, version, slot: 0, touches, origin }
    }

    /// The round that a command in rounds has asked for; it has been counted already.
    fn round_of_hops(&self, index: usize, requests: Vec<HopRequest>) -> Step {
        let (call, item) = (self.call(index, Version::Resp2), &self.items[index]);
        let round = if let Way::Hops { round, .. } = item.way { round - 1 } else { 0 };
        Step::Round(requests.into_iter().map(|it| hop_request(it.args, call, (item, round))).collect())
    }

    /// What a round has to ask for one item.
    fn round_of(&self, index: usize) -> Vec<RoundRequest> {
        let item = &self.items[index];
        let request = |keyed, slot, version: Option<Version>| {
            let call = self.call(index, version.unwrap_or(self.terms.version));
            let work = Work::Keyed(item.command, keyed);
            Request { target: Target::Nobody, work, call: Call { slot, ..call }, arguments: 0 }
        };
        match &item.way {
            Way::One(keyed, slot) => {
                vec![RoundRequest::Keyed(request(*keyed, *slot, None), item.args.clone())]
            }
            Way::Split { keyed, merge, parts, .. } => parts
                .iter()
                .map(|(shard, slot, args)| {
                    RoundRequest::On(*shard, request(*keyed, *slot, merge_version(*merge)), args.clone())
                })
                .collect(),
            Way::Whole { keyed, merge } => (0..self.shards)
                .map(|shard| {
                    let request = request(*keyed, 0, merge_version(*merge));
                    RoundRequest::On(ShardId(shard), request, item.args.clone())
                })
                .collect(),
            Way::Serve => vec![RoundRequest::Serve(item.args.clone())],
            Way::Hops { .. } | Way::Script => Vec::new(),
        }
    }
}

impl Item {
    /// How many replies it is made of.
    fn places(&self, shards: u16) -> usize {
        match &self.way {
            Way::One(..) | Way::Serve => 1,
            Way::Split { parts, .. } => parts.len(),
            Way::Whole { .. } => usize::from(shards),
            Way::Hops { .. } | Way::Script => 0,
        }
    }

    /// Whether a key is one of those that it reads only.
    fn reads(&self, key: &[u8]) -> bool {
        let args: Vec<&[u8]> = self.args.iter().map(Vec::as_slice).collect();
        let mut uses = self.command.key_positions(&args);
        uses.any(|(position, uses)| args.get(position) == Some(&key) && !self.command.changes(uses))
    }

    fn reply(&self, parts: &[Vec<u8>], version: Version, random: &mut Rng) -> Vec<u8> {
        let (merge, owners) = match &self.way {
            Way::Split { merge, owners, .. } => (*merge, owners.as_slice()),
            Way::Whole { merge, .. } => (*merge, &[][..]),
            _ => return parts.first().cloned().unwrap_or_default(),
        };
        let mut reply = Vec::new();
        merge_parts(merge, owners, parts, &mut Encoder::new(&mut reply, version), random);
        reply
    }
}

fn hop(
    plan: HopPlan,
    (round, earlier): (u32, &[Vec<Vec<u8>>]),
    (args, database): (&Arguments, DatabaseId),
    waiter: Option<(ShardId, u64)>,
    terms: Terms,
    replies: &[Vec<u8>],
) -> HopStep {
    let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    let Terms { version, databases, bulk_bytes_max, .. } = terms;
    plan(&Hop { round, args: &args, replies, earlier, version, database, databases, bulk_bytes_max, waiter })
}

/// A request of a command in rounds.
fn hop_request(args: Arguments, call: Call, (item, round): (&Item, u32)) -> RoundRequest {
    let command = args.first().and_then(|name| lookup(name)).expect("a plan requests commands of the table");
    let (Run::Keyed(keyed) | Run::Split(keyed, _) | Run::Hops(_, keyed) | Run::Waits(&Waiting { keyed, .. })) =
        command.run
    else {
        unreachable!("a plan requests commands with keys, not {}", command.name)
    };
    let slices: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    let key = command.first_key(&slices);
    let slot = key.map_or(0, slot);
    let work = Work::Keyed(command, keyed);
    let reads = key.is_some_and(|key| item.reads(key));
    let looks = looks_in(round, item.command, command.is_internal(), reads);
    let origin = Origin { prepares: !looks, ..call.origin };
    RoundRequest::Keyed(
        Request { target: Target::Nobody, work, call: Call { slot, origin, ..call }, arguments: 0 },
        args,
    )
}

impl Core {
    /// Decides how each command of a program runs, and what the shards are asked for.
    pub(in super::super) fn draft(&self, program: &mut Program) -> Draft {
        let mut database = program.terms.database;
        program.shards = self.shards;
        for (command, args) in std::mem::take(&mut program.commands) {
            let slices: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            let way = self.way(command, &slices);
            let item = Item { command, database, way, args: Vec::new() };
            if let Some(selected) = selected(command, &slices, program.terms.databases) {
                database = selected;
            }
            program.items.push(Item { args, ..item });
        }
        let scripts = program.items.iter().any(|item| matches!(item.way, Way::Script));
        program.rounds = scripts || program.items.iter().any(|item| matches!(item.way, Way::Hops { .. }));
        // What stands beside a script may be something that can't be undone: such a block takes everything at once.
        program.stands_beside = scripts
            && program.items.iter().any(|item| match item.way {
                Way::Script => false,
                Way::Serve => true,
                _ => item.command.flags.contains(Flags::WRITE),
            });
        program.has_all = program.stands_beside;
        self.draft_again(program)
    }

    /// What the shards are asked for.
    pub(in super::super) fn draft_again(&self, program: &mut Program) -> Draft {
        let mut draft = if program.rounds { Draft::in_rounds() } else { Draft::default() };
        for (shard, locks) in &program.wanted {
            draft.add_locks(*shard, locks);
        }
        if program.has_all {
            for shard in 0..self.shards {
                draft.add_all(ShardId(shard));
            }
        }
        if program.items.iter().any(|item| matches!(item.way, Way::Serve)) {
            draft.serve_too();
        }
        for watched in &program.watched {
            let shard = self.owner(slot(&watched.key));
            draft.add_watched(shard, &watched.key, watched.database, watched.version);
        }
        let mut place = 0;
        for index in 0..program.items.len() {
            self.draft_item(program, index, place, &mut draft);
            place += program.items[index].places(self.shards) as u32;
        }
        if !program.rounds {
            program.awaited = program.items.len();
        }
        draft
    }

    fn draft_item(&self, program: &Program, index: usize, mut place: u32, draft: &mut Draft) {
        let item = &program.items[index];
        if let Way::Hops { .. } | Way::Script = item.way {
            self.draft_keys(item, draft);
            return;
        }
        for each in program.round_of(index) {
            let (shard, request, args) = match each {
                RoundRequest::Keyed(request, args) => (self.owner(request.call.slot), request, args),
                RoundRequest::On(shard, request, args) => (shard, request, args),
                RoundRequest::Serve(_) => continue,
            };
            let slices: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            let target = Core::part_target(program.terms.operation, place);
            draft.add(shard, Request { target, ..request }, &slices);
            place += 1;
        }
    }

    /// The locks of a command in rounds, each with its owner.
    fn draft_keys(&self, item: &Item, draft: &mut Draft) {
        let slices: Vec<&[u8]> = item.args.iter().map(Vec::as_slice).collect();
        if item.command.looks_elsewhere(&slices) {
            for shard in (0..self.shards).map(ShardId) {
                draft.add_key(shard, item.command, |locks| locks.add_whole(Mode::Shared));
            }
        }
        if item.command.runs_function() {
            // They are looked at here.
            draft.add_key(self.id, item.command, |locks| locks.add(LockKey::new(LIBRARIES), Mode::Shared));
        }
        for (position, uses) in item.command.key_positions(&slices) {
            let Some(key) = slices.get(position) else { continue };
            let mode = if item.command.changes(uses) { Mode::Exclusive } else { Mode::Shared };
            draft.add_key(self.owner(slot(key)), item.command, |locks| locks.add(LockKey::new(key), mode));
        }
    }

    fn way(&self, command: &'static Command, args: &[&[u8]]) -> Way {
        match command.run {
            Run::Keyed(keyed) => Way::One(keyed, command.first_key(args).map_or(0, slot)),
            Run::Cursor(keyed) => {
                let group = args.get(1).and_then(|cursor| cursor_group(cursor)).unwrap_or(0);
                Way::One(keyed, group.min(255) << 6)
            }
            Run::Split(keyed, _) | Run::Hops(_, keyed) | Run::Waits(&Waiting { keyed, .. })
                if let Some(slot) = self.common_owner(command, args) =>
            {
                Way::One(keyed, slot)
            }
            Run::Split(keyed, merge) => {
                let split = self.split(command, args);
                let owned = |args: SmallVec<[&[u8]; 8]>| args.into_iter().map(<[u8]>::to_vec).collect();
                let parts = split.parts.into_iter().map(|(shard, slot, args)| (shard, slot, owned(args)));
                Way::Split { keyed, merge, owners: split.owners, parts: parts.collect() }
            }
            Run::Hops(plan, _) | Run::Waits(&Waiting { plan, .. }) => {
                Way::Hops { plan, round: 0, earlier: Vec::new() }
            }
            Run::Broadcast(keyed, merge) => Way::Whole { keyed, merge },
            Run::Script(_) => Way::Script,
            Run::Connection(_) | Run::Container => Way::Serve,
        }
    }
}

/// The database that commands behind this one run in, if it changes that.
pub(super) fn selected(command: &Command, args: &[&[u8]], databases: u16) -> Option<DatabaseId> {
    if command.name != "select" {
        return None;
    }
    let index = annulus_protocol::parse_i64(args.get(1)?)?;
    u16::try_from(index).ok().filter(|index| *index < databases).map(DatabaseId)
}
