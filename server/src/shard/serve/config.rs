//! CONFIG.

use super::super::Core;
use crate::admin::logging;
use crate::commands::{ConfigCommand, Merge};
use crate::runtime::SocketId;
use crate::shard::batch::Work;

impl Core {
    pub(super) fn config(&mut self, socket: SocketId, which: ConfigCommand, args: &[&[u8]]) {
        match which {
            ConfigCommand::Get => {
                let found = self.settings.config_get(&args[2..]);
                self.answer(socket, |out| {
                    out.map_header(found.len());
                    for (name, value) in found {
                        out.bulk(name);
                        out.bulk(value);
                    }
                });
            }
            ConfigCommand::Set => {
                let result = self.config_set(&args[2..]);
                self.answer_status(socket, result);
            }
            ConfigCommand::Resetstat => {
                let reset = |core: &mut Core, _: &[&[u8]], out: &mut Vec<u8>| {
                    core.reset_counters();
                    out.extend_from_slice(b"+OK\r\n");
                };
                self.start_broadcast(socket, Work::Core(reset), Merge::Ok, args);
            }
            ConfigCommand::Rewrite => self.answer(socket, |out| {
                out.error("ERR The server does not rewrite its settings file: edit it, or start with other settings");
            }),
        }
    }

    fn config_set(&mut self, pairs: &[&[u8]]) -> Result<(), String> {
        if !pairs.len().is_multiple_of(2) {
            return Err("ERR syntax error".to_owned());
        }
        let pairs: Vec<(&[u8], &[u8])> = pairs.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        let changed = self.shared.change_settings(|settings| {
            settings.config_set(&pairs).map(|changed| {
                if changed.iter().any(|setting| setting.name == "log-level") {
                    logging::set_level(settings.log_level);
                }
            })
        });
        self.refresh_settings();
        changed.map_err(|error| error.to_string())
    }
}
