//! The limit of open files, against the connections that are wanted.

use rustix::process::{Resource, getrlimit, setrlimit};

use super::settings::Settings;

/// Open files that are not connections: for the process, and for each shard (ring, wake-up, listeners, segments).
const FILES_PROCESS: u64 = 32;
const FILES_SHARD: u64 = 32;

/// The open files that these settings need.
pub fn files_wanted(settings: &Settings) -> u64 {
    u64::from(settings.maxclients) + files_reserved(settings)
}

fn files_reserved(settings: &Settings) -> u64 {
    FILES_PROCESS + FILES_SHARD * settings.shards as u64
}

/// Raises the soft limit of open files as far as is needed and permitted. Gives the connections that then fit,
/// at most `maxclients`.
pub fn raise_file_limit(settings: &Settings) -> u32 {
    let wanted = files_wanted(settings);
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
        let mut asked = limit;
        asked.current = Some(raised);
        if setrlimit(Resource::Nofile, asked).is_ok() {
            limit = asked;
        }
    }
    connections_within(settings, limit.current)
}

/// The connections, at most `maxclients`, that fit into a limit of open files.
fn connections_within(settings: &Settings, files: Option<u64>) -> u32 {
    let room = files.map_or(u64::MAX, |files| files.saturating_sub(files_reserved(settings)).max(1));
    u32::try_from(room).unwrap_or(u32::MAX).min(settings.maxclients)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_fit_into_the_limit_of_files() {
        let settings = Settings { shards: 2, maxclients: 10_000, ..Settings::default() };
        assert_eq!(connections_within(&settings, None), 10_000);
        assert_eq!(connections_within(&settings, Some(1024)), 1024 - 96);
        assert_eq!(connections_within(&settings, Some(10)), 1);
        assert_eq!(connections_within(&settings, Some(files_wanted(&settings))), 10_000);
    }
}
