//! INFO, MEMORY, TIME, DEBUG, the SAVE family, SHUTDOWN, LOLWUT.

use std::fmt::Write as _;

use annulus_protocol::{Encoder, parse_f64, parse_i64};

use super::super::Core;
use super::super::dispatch::Flow;
use super::super::operations::Report;
use super::quoting;
use crate::admin::info::{self, ServerFacts, ShardCounters};
use crate::admin::memory;
use crate::admin::process::ProcessFacts;
use crate::commands::{ConnectionCommand, MemoryCommand};
use crate::runtime::SocketId;

/// DEBUG SLEEP at most: it stops a shard, which is what it is for, but not for ever.
const SLEEP_SECONDS_MAX: f64 = 3600.0;

impl Core {
    /// INFO or a part of MEMORY from the counters of all shards.
    pub(in crate::shard) fn render_report(
        &mut self,
        report: &Report,
        shards: &[ShardCounters],
        out: &mut Encoder<'_>,
    ) {
        let functions = self.function_totals();
        let mut facts = ServerFacts {
            settings: &self.settings,
            process: ProcessFacts::read(),
            run_id: &self.shared.facts.run_id,
            executable: &self.shared.facts.executable,
            config_file: &self.shared.facts.config_file,
            maxmemory: self.settings.maxmemory,
            maxmemory_policy: self.settings.maxmemory_policy.name(),
            last_save_seconds: self.shared.saves.last_seconds(),
            saving: self.shared.saves.any(),
            backup: self.shared.backup.state(self.time.monotonic_ns),
            older_epochs: self.shared.saves.older_epochs(),
            io_driver: self.shared.facts.driver.kind.name(),
            io_features: &self.shared.facts.driver.features.join(","),
            now_us: self.time.unix_us,
            uptime_seconds: self.time.unix_us.saturating_sub(self.shared.facts.started_us) / 1_000_000,
            loading: false,
            maxclients: self.settings.maxclients,
            used_memory_peak: 0,
            scripts: self.shared.scripts.totals(),
            functions,
            shards,
        };
        facts.used_memory_peak = self.shared.memory_peak(facts.used_memory());
        match report {
            Report::Info(sections) => {
                let sections: Vec<&[u8]> = sections.iter().map(Vec::as_slice).collect();
                out.verbatim(*b"txt", info::render(&facts, &sections));
            }
            Report::MemoryStats => memory::stats(&facts, out),
            Report::MemoryDoctor => out.verbatim(*b"txt", memory::doctor(&facts)),
        }
    }

    pub(super) fn memory(&mut self, socket: SocketId, which: MemoryCommand) {
        match which {
            MemoryCommand::Doctor => self.start_report(socket, Report::MemoryDoctor),
            MemoryCommand::Stats => self.start_report(socket, Report::MemoryStats),
            // Unused pages go back to the system by themselves, some milliseconds after they were freed.
            MemoryCommand::Purge => self.answer_ok(socket),
            // What Redis says of allocators other than its own.
            MemoryCommand::MallocStats => {
                self.answer(socket, |out| out.bulk("Stats not supported for the current allocator"));
            }
        }
    }

    pub(super) fn time(&mut self, socket: SocketId) {
        let now_us = self.time.unix_us;
        self.answer(socket, |out| write_time(now_us, out));
    }

    /// The reply to TIME.
    pub(in crate::shard) fn write_time(&self, out: &mut Encoder<'_>) {
        write_time(self.time.unix_us, out);
    }

    pub(super) fn debug(&mut self, socket: SocketId, args: &[&[u8]]) {
        let subcommand = args.get(1).map(|word| word.to_ascii_lowercase()).unwrap_or_default();
        match (subcommand.as_slice(), args.get(2)) {
            (b"sleep", Some(seconds)) => {
                let seconds = parse_f64(seconds).unwrap_or(0.0).clamp(0.0, SLEEP_SECONDS_MAX);
                crate::runtime::threads::block_for(std::time::Duration::from_secs_f64(seconds));
                self.answer_ok(socket);
            }
            (b"jmap" | b"set-active-expire" | b"quicklist-packed-threshold" | b"stringmatch-len", _) => {
                self.answer_ok(socket);
            }
            _ => self.answer(socket, |out| {
                let word = args.get(1).copied().unwrap_or_default();
                out.error(quoting(
                    "ERR unknown subcommand or wrong number of arguments for '",
                    word,
                    "'. Try DEBUG HELP.",
                ));
            }),
        }
    }

    /// SAVE, BGSAVE, BGREWRITEAOF: all are checkpoints of all shards.
    pub(super) fn save(&mut self, socket: SocketId, which: ConnectionCommand, args: &[&[u8]]) {
        let busy = self.shared.saves.any();
        let scheduled = match args[1..] {
            [] => false,
            [word] if word.eq_ignore_ascii_case(b"schedule") => true,
            _ => return self.answer(socket, |out| out.error("ERR syntax error")),
        };
        match which {
            ConnectionCommand::Lastsave => {
                let seconds = self.shared.saves.last_seconds() as i64;
                self.answer(socket, |out| out.integer(seconds));
            }
            ConnectionCommand::Bgsave if busy && !scheduled => {
                self.answer(socket, |out| out.error("ERR Background save already in progress"));
            }
            ConnectionCommand::Bgsave => {
                self.save_everywhere();
                self.answer(socket, |out| {
                    out.simple(if busy {
                        "Background saving scheduled"
                    } else {
                        "Background saving started"
                    });
                });
            }
            ConnectionCommand::Bgrewriteaof if busy => {
                self.answer(socket, |out| {
                    out.error("ERR Background append only file rewriting already in progress");
                });
            }
            ConnectionCommand::Bgrewriteaof => {
                self.save_everywhere();
                self.answer(socket, |out| out.simple("Background append only file rewriting started"));
            }
            _ if busy => self.answer(socket, |out| out.error("ERR Background save already in progress")),
            _ => self.start_save(socket),
        }
    }

    pub(super) fn shutdown(&mut self, socket: SocketId, args: &[&[u8]]) -> Flow {
        let known = |word: &&&[u8]| {
            ["nosave", "save", "now", "force"].iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes()))
        };
        let has = |name: &[u8]| args[1..].iter().any(|word| word.eq_ignore_ascii_case(name));
        let saves = has(b"save").then_some(true).or(has(b"nosave").then_some(false));
        let abort = args.len() == 2 && args[1].eq_ignore_ascii_case(b"abort");
        if abort {
            self.answer(socket, |out| out.error("ERR No shutdown in progress."));
        } else if args[1..].iter().all(|word| known(&word)) {
            tracing::info!(shard = self.id.0, "stop asked for by SHUTDOWN");
            if let Some(saves) = saves {
                self.shared.set_save_at_stop(saves);
            }
            // As in Redis there is no reply: the connection closes when the server has stopped.
            self.shared.stop();
            return Flow::Stop;
        } else {
            self.answer(socket, |out| out.error("ERR syntax error"));
        }
        Flow::Continue
    }

    pub(super) fn lolwut(&mut self, socket: SocketId, args: &[&[u8]]) {
        let columns = args.last().and_then(|word| parse_i64(word)).unwrap_or(40).clamp(8, 120) as usize;
        let random = &mut self.random;
        // A ring, after the name: each row's two walls wander on a circle, with a little noise.
        let rows = columns / 4;
        let mut picture = String::new();
        for row in 0..rows {
            let height = (row as f64 + 0.5) / rows as f64 * 2.0 - 1.0;
            let half = (1.0 - height * height).max(0.0).sqrt() * columns as f64 / 2.0;
            let hole = (0.3 - height * height).max(0.0).sqrt() * columns as f64 / 2.0;
            let middle = columns as f64 / 2.0;
            for column in 0..columns {
                let distance = (column as f64 + 0.5 - middle).abs();
                let inside = distance <= half && distance >= hole;
                picture.push(if !inside {
                    ' '
                } else if random.below(4) == 0 {
                    '\u{2591}'
                } else {
                    '\u{2593}'
                });
            }
            picture.push('\n');
        }
        let _ = write!(picture, "\nAnnulus ver. {}\n", info::VERSION);
        self.answer(socket, |out| out.verbatim(*b"txt", picture));
    }
}

fn write_time(now_us: u64, out: &mut Encoder<'_>) {
    out.array_header(2);
    out.bulk((now_us / 1_000_000).to_string());
    out.bulk((now_us % 1_000_000).to_string());
}
