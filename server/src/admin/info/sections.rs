//! One function for each section of INFO. Fields of Redis that have no meaning here (forks, rewrites, replicas, scripts) are
//! kept where monitoring reads them, with the value that says "none".

use super::counters::ShardCounters;
use super::text::{Text, human_bytes, ratio};
use super::{REDIS_VERSION, Section, ServerFacts, VERSION};
use crate::admin::settings::Durability;

const US_PER_SECOND: u64 = 1_000_000;
const SECONDS_PER_DAY: u64 = 86_400;

pub(super) fn section(out: &mut Text, section: Section, facts: &ServerFacts<'_>, total: &ShardCounters) {
    match section {
        Section::Server => server(out, facts),
        Section::Clients => clients(out, facts, total),
        Section::Memory => memory(out, facts, total),
        Section::Persistence => persistence(out, facts, total),
        Section::Stats => stats(out, total),
        Section::Replication => replication(out, facts),
        Section::Cpu => cpu(out, facts),
        Section::Modules => {
            out.heading("Modules");
        }
        Section::Shards => shards(out, facts),
        Section::CommandStats => command_stats(out, total),
        Section::ErrorStats => error_stats(out, total),
        Section::LatencyStats => latency_stats(out, total),
        Section::Cluster => {
            out.heading("Cluster").field("cluster_enabled", u8::from(facts.settings.cluster_ports));
        }
        Section::Keyspace => keyspace(out, total),
    }
}

fn server(out: &mut Text, facts: &ServerFacts<'_>) {
    let settings = facts.settings;
    let system = rustix::system::uname();
    let (name, release) = (system.sysname().to_string_lossy(), system.release().to_string_lossy());
    let mode = if settings.cluster_ports { "cluster" } else { "standalone" };
    out.heading("Server")
        .field("redis_version", REDIS_VERSION)
        .field("redis_git_sha1", "00000000")
        .field("redis_git_dirty", 0)
        .field("redis_build_id", 0)
        .field("redis_mode", mode)
        .field("server_name", "annulus")
        .field("annulus_version", VERSION)
        .field("os", format_args!("{name} {release} {}", std::env::consts::ARCH))
        .field("arch_bits", usize::BITS)
        .field("monotonic_clock", "POSIX clock_gettime")
        .field("multiplexing_api", facts.io_driver)
        .field("io_driver", facts.io_driver)
        .field("io_features", facts.io_features)
        .field("process_id", std::process::id())
        .field("process_supervised", "no")
        .field("run_id", facts.run_id)
        .field("tcp_port", settings.port)
        .field("server_time_usec", facts.now_us)
        .field("uptime_in_seconds", facts.uptime_seconds)
        .field("uptime_in_days", facts.uptime_seconds / SECONDS_PER_DAY)
        .field("hz", 10)
        .field("configured_hz", 10)
        .field("lru_clock", (facts.now_us / US_PER_SECOND) & 0xff_ffff)
        .field("executable", facts.executable)
        .field("config_file", facts.config_file)
        .field("io_threads_active", u8::from(settings.shards > 1))
        .field("shards", settings.shards)
        .field("durability", settings.durability.name());
}

fn clients(out: &mut Text, facts: &ServerFacts<'_>, total: &ShardCounters) {
    let clients = &total.clients;
    out.heading("Clients")
        .field("connected_clients", clients.connected)
        .field("cluster_connections", 0)
        .field("maxclients", facts.maxclients)
        .field("client_recent_max_input_buffer", clients.input_buffer_max)
        .field("client_recent_max_output_buffer", clients.output_buffer_max)
        .field("blocked_clients", clients.blocked)
        .field("tracking_clients", clients.tracking)
        .field("pubsub_clients", clients.pubsub)
        .field("watching_clients", clients.watching)
        .field("clients_in_timeout_table", 0)
        .field("total_watched_keys", 0)
        .field("total_blocking_keys", 0);
}

fn memory(out: &mut Text, facts: &ServerFacts<'_>, total: &ShardCounters) {
    let memory = &total.memory;
    let used = facts.used_memory();
    let peak = facts.used_memory_peak.max(used);
    let overhead = used - memory.dataset;
    let resident = facts.process.resident_bytes;
    let beside = resident.saturating_sub(used);
    out.heading("Memory")
        .bytes("used_memory", used)
        .bytes("used_memory_rss", resident)
        .bytes("used_memory_peak", peak)
        .field("used_memory_peak_perc", format_args!("{:.2}%", 100.0 * ratio(used as f64, peak as f64)))
        .field("used_memory_overhead", overhead)
        .field("used_memory_startup", 0)
        .field("used_memory_dataset", memory.dataset)
        .field(
            "used_memory_dataset_perc",
            format_args!("{:.2}%", 100.0 * ratio(memory.dataset as f64, used as f64)),
        )
        .field("used_memory_rss_peak", facts.process.resident_peak_bytes)
        .bytes("used_memory_prefaulted", facts.process.prefaulted_bytes)
        .field("used_memory_tables", memory.tables)
        .field("allocator_allocated", used)
        .field("allocator_active", resident)
        .field("allocator_resident", resident)
        .bytes("total_system_memory", facts.process.machine_memory_bytes)
        .bytes("used_memory_lua", 0)
        .bytes("used_memory_scripts", facts.scripts.1 as u64)
        .field("number_of_cached_scripts", facts.scripts.0)
        .field("number_of_functions", facts.functions.1)
        .field("number_of_libraries", facts.functions.0)
        .bytes("maxmemory", facts.maxmemory)
        .field("maxmemory_policy", facts.maxmemory_policy)
        .field("allocator_frag_ratio", "1.00")
        .field("allocator_frag_bytes", 0)
        .field("mem_fragmentation_ratio", format_args!("{:.2}", ratio(resident as f64, used as f64)))
        .field("mem_fragmentation_bytes", beside)
        .field("mem_not_counted_for_evict", 0)
        .field("mem_replication_backlog", 0)
        .field("mem_total_replication_buffers", 0)
        .field("mem_clients_slaves", 0)
        .field("mem_clients_normal", memory.clients)
        .field("mem_cluster_links", 0)
        .field("mem_aof_buffer", memory.log)
        .field("mem_mesh", memory.mesh)
        .field("mem_allocator", "mimalloc")
        .field("active_defrag_running", 0)
        .field("lazyfree_pending_objects", 0)
        .field("lazyfreed_objects", 0);
}

fn persistence(out: &mut Text, facts: &ServerFacts<'_>, total: &ShardCounters) {
    out.heading("Persistence")
        .field("loading", u8::from(facts.loading))
        .field("async_loading", 0)
        .field("current_cow_size", 0)
        .field("current_fork_perc", "0.00");
    saves(out, facts, total);
    out.field("module_fork_in_progress", 0).field("durability", facts.settings.durability.name());
    log_state(out, facts, total);
    checkpoints(out, total);
    out.field("backup_in_progress", u8::from(facts.backup.is_under_way))
        .field("last_backup_time", facts.backup.last_seconds)
        .field("last_backup_status", status(facts.backup.last_failed));
    out.field("recovery_records", total.log.recovered_records).field("recovery_usec", total.log.recovery_us);
}

/// `err` of what has failed.
const fn status(failed: bool) -> &'static str {
    if failed { "err" } else { "ok" }
}

/// Checkpoints and the log in the words of Redis's two kinds of files.
fn saves(out: &mut Text, facts: &ServerFacts<'_>, total: &ShardCounters) {
    let (log, saved) = (&total.log, &total.checkpoint);
    let enabled = facts.settings.durability != Durability::None;
    let last_seconds = if saved.completed == 0 { -1 } else { saved.last_seconds as i64 };
    let current_seconds = if saved.in_progress == 0 { -1 } else { saved.current_seconds as i64 };
    out.field("rdb_changes_since_last_save", saved.changes)
        .field("rdb_bgsave_in_progress", u8::from(facts.saving))
        .field("rdb_last_save_time", facts.last_save_seconds)
        .field("rdb_last_bgsave_status", status(saved.failed))
        .field("rdb_last_bgsave_time_sec", last_seconds)
        .field("rdb_current_bgsave_time_sec", current_seconds)
        .field("rdb_saves", saved.completed)
        .field("rdb_last_load_keys_expired", 0)
        .field("rdb_last_load_keys_loaded", saved.records_loaded)
        .field("aof_enabled", u8::from(enabled))
        .field("aof_rewrite_in_progress", u8::from(facts.saving))
        .field("aof_rewrite_scheduled", 0)
        .field("aof_last_rewrite_time_sec", last_seconds)
        .field("aof_current_rewrite_time_sec", current_seconds)
        .field("aof_last_bgrewrite_status", status(saved.failed))
        .field("aof_rewrites", saved.completed)
        .field("aof_last_write_status", status(log.failed));
    if enabled {
        out.field("aof_current_size", log.disk_bytes + saved.bytes)
            .field("aof_base_size", saved.bytes)
            .field("aof_pending_rewrite", 0)
            .field("aof_buffer_length", facts.shards.iter().map(|shard| shard.memory.log).sum::<u64>())
            .field("aof_pending_bio_fsync", log.commits_in_flight)
            .field("aof_delayed_fsync", 0);
    }
}

fn log_state(out: &mut Text, facts: &ServerFacts<'_>, total: &ShardCounters) {
    let log = &total.log;
    let undurable = facts
        .shards
        .iter()
        .map(|shard| shard.log.last_lsn.saturating_sub(shard.log.durable_lsn))
        .sum::<u64>();
    let reaches_back_seconds = match total.checkpoint.reaches_ms {
        0 => 0,
        reaches_ms => (facts.now_us / 1000).saturating_sub(reaches_ms) / 1000,
    };
    out.field("log_status", status(log.failed))
        .field("log_last_lsn", log.last_lsn)
        .field("log_durable_lsn", log.durable_lsn)
        .field("log_undurable_lsns", undurable)
        .field("log_commits", log.commits)
        .field("log_commit_bytes", log.commit_bytes)
        .field("log_commits_in_flight", log.commits_in_flight)
        .field("log_commit_p50_usec", microseconds(log.commit_latency.percentile(50.0)))
        .field("log_commit_p99_usec", microseconds(log.commit_latency.percentile(99.0)))
        .field("log_commit_p99.9_usec", microseconds(log.commit_latency.percentile(99.9)))
        .field("log_replies_gated", log.replies_gated)
        .field("log_segments", log.segments)
        .field("log_segments_spare", log.segments_spare)
        .field("log_disk_bytes", log.disk_bytes)
        .field("log_retained_bytes", total.checkpoint.retained_bytes)
        .field("log_older_epochs", facts.older_epochs)
        .field("log_reaches_back_seconds", reaches_back_seconds);
}

/// Checkpoints, and the reading again of what is on disk.
fn checkpoints(out: &mut Text, total: &ShardCounters) {
    let (saved, scrub) = (&total.checkpoint, &total.scrub);
    let progress = match scrub.total_bytes {
        0 => 0.0,
        total => 100.0 * scrub.read_bytes as f64 / total as f64,
    };
    out.field("checkpoints_in_progress", saved.in_progress)
        .field("checkpoint_records", saved.records)
        .field("checkpoint_bytes", saved.bytes)
        .field("checkpoint_lsn", saved.lsn)
        .field("checkpoint_memory_bytes", saved.memory)
        .field("start_damaged_checkpoints", saved.start_damaged)
        .field("start_retained_segments", saved.start_taken_back)
        .field("scrub_in_progress", u8::from(scrub.in_progress > 0))
        .field("scrub_progress_perc", format!("{progress:.2}"))
        .field("scrub_last_age_sec", if scrub.never { -1 } else { scrub.age_seconds as i64 })
        .field("scrub_last_status", status(scrub.faults > 0))
        .field("scrub_faults", scrub.faults);
}

fn stats(out: &mut Text, total: &ShardCounters) {
    let (clients, traffic, keyspace) = (&total.clients, &total.traffic, &total.keyspace);
    let kilobytes = |bytes: u64| format!("{:.2}", bytes as f64 / 1024.0);
    out.heading("Stats")
        .field("total_connections_received", clients.received)
        .field("total_commands_processed", traffic.commands)
        .field("instantaneous_ops_per_sec", traffic.commands_per_second)
        .field("total_net_input_bytes", traffic.input_bytes)
        .field("total_net_output_bytes", traffic.output_bytes)
        .field("total_net_repl_input_bytes", 0)
        .field("total_net_repl_output_bytes", 0)
        .field("instantaneous_input_kbps", kilobytes(traffic.input_bytes_per_second))
        .field("instantaneous_output_kbps", kilobytes(traffic.output_bytes_per_second))
        .field("instantaneous_input_repl_kbps", "0.00")
        .field("instantaneous_output_repl_kbps", "0.00")
        .field("rejected_connections", clients.rejected)
        .field("sync_full", 0)
        .field("sync_partial_ok", 0)
        .field("sync_partial_err", 0)
        .field("expired_subkeys", keyspace.expired_members)
        .field("expired_keys", keyspace.expired)
        .field("expired_stale_perc", "0.00")
        .field("expired_time_cap_reached_count", 0)
        .field("evicted_keys", keyspace.evicted)
        .field("evicted_clients", 0)
        .field("total_eviction_exceeded_time", 0)
        .field("current_eviction_exceeded_time", 0)
        .field("keyspace_hits", keyspace.hits)
        .field("keyspace_misses", keyspace.misses)
        .field("pubsub_channels", total.names.channels.len())
        .field("pubsub_patterns", total.names.patterns.len())
        .field("pubsubshard_channels", total.names.shard_channels.len())
        .field("latest_fork_usec", 0)
        .field("total_forks", 0)
        .field("migrate_cached_sockets", 0)
        .field("slave_expires_tracked_keys", 0)
        .field("tracking_total_keys", total.tracking.keys)
        .field("tracking_total_items", total.tracking.items)
        .field("tracking_total_prefixes", total.names.prefixes.len())
        .field("unexpected_error_replies", 0)
        .field("total_error_replies", traffic.error_replies)
        .field("dump_payload_sanitizations", 0)
        .field("total_reads_processed", traffic.receives)
        .field("total_writes_processed", traffic.sends)
        .field("io_threaded_reads_processed", 0)
        .field("io_threaded_writes_processed", 0)
        .field("client_query_buffer_limit_disconnections", clients.input_limit_closed)
        .field("client_output_buffer_limit_disconnections", clients.output_limit_closed)
        .field("mesh_commands", total.mesh.commands)
        .field("mesh_batches", total.mesh.batches)
        .field("mesh_wakes", total.mesh.wakes)
        .field("mesh_stalls", total.mesh.stalls)
        .field("transactions_started", total.transactions.started)
        .field("transactions_wounded", total.transactions.wounded)
        .field("transactions_restarted", total.transactions.restarted)
        .field("transactions_waited_for", total.transactions.commands_waited);
}

fn replication(out: &mut Text, facts: &ServerFacts<'_>) {
    out.heading("Replication")
        .field("role", "master")
        .field("connected_slaves", 0)
        .field("master_failover_state", "no-failover")
        .field("master_replid", facts.run_id)
        .field("master_replid2", "0".repeat(40))
        .field("master_repl_offset", 0)
        .field("second_repl_offset", -1)
        .field("repl_backlog_active", 0)
        .field("repl_backlog_size", 0)
        .field("repl_backlog_first_byte_offset", 0)
        .field("repl_backlog_histlen", 0);
}

fn cpu(out: &mut Text, facts: &ServerFacts<'_>) {
    let process = &facts.process;
    let seconds = |value: f64| format!("{value:.6}");
    out.heading("CPU")
        .field("used_cpu_sys", seconds(process.cpu_sys_seconds))
        .field("used_cpu_user", seconds(process.cpu_user_seconds))
        .field("used_cpu_sys_children", seconds(0.0))
        .field("used_cpu_user_children", seconds(0.0))
        .field("used_cpu_sys_main_thread", seconds(process.main_thread_sys_seconds))
        .field("used_cpu_user_main_thread", seconds(process.main_thread_user_seconds));
}

fn shards(out: &mut Text, facts: &ServerFacts<'_>) {
    out.heading("Shards").field("shards", facts.shards.len());
    for (index, shard) in facts.shards.iter().enumerate() {
        let keys: u64 = shard.databases.values().map(|database| database.keys).sum();
        let (log, mesh, turns) = (&shard.log, &shard.mesh, &shard.turns);
        out.field(
            format_args!("shard{index}"),
            format_args!(
                "keys={keys},clients={},commands={},ops_per_sec={},input_bytes={},output_bytes={},memory={},\
                 last_lsn={},durable_lsn={},commits={},commits_in_flight={},commit_p50_usec={},commit_p99_usec={},\
                 mesh_batches={},mesh_commands={},mesh_wakes={},mesh_stalls={},turns={},system_calls={},sleeps={},\
                 spins_won={},turn_max_usec={}",
                shard.clients.connected,
                shard.traffic.commands,
                shard.traffic.commands_per_second,
                shard.traffic.input_bytes,
                shard.traffic.output_bytes,
                human_bytes(shard.memory.dataset + shard.memory.tables),
                log.last_lsn,
                log.durable_lsn,
                log.commits,
                log.commits_in_flight,
                log.commit_latency.percentile(50.0) / 1000,
                log.commit_latency.percentile(99.0) / 1000,
                mesh.batches,
                mesh.commands,
                mesh.wakes,
                mesh.stalls,
                turns.turns,
                turns.system_calls,
                turns.sleeps,
                turns.spins_won,
                turns.turn_us_max,
            ),
        );
    }
}

fn command_stats(out: &mut Text, total: &ShardCounters) {
    out.heading("Commandstats");
    for (name, command) in &total.commands {
        let usec = command.ns / 1000;
        let each = ratio(command.ns as f64 / 1000.0, command.calls as f64);
        out.field(
            format_args!("cmdstat_{name}"),
            format_args!(
                "calls={},usec={usec},usec_per_call={each:.2},rejected_calls={},failed_calls={}",
                command.calls, command.rejected, command.failed
            ),
        );
    }
}

fn error_stats(out: &mut Text, total: &ShardCounters) {
    out.heading("Errorstats");
    for (prefix, count) in &total.errors {
        out.field(format_args!("errorstat_{prefix}"), format_args!("count={count}"));
    }
}

fn latency_stats(out: &mut Text, total: &ShardCounters) {
    out.heading("Latencystats");
    for (name, command) in total.commands.iter().filter(|(_, command)| command.latency.count() > 0) {
        let at = |percent| microseconds(command.latency.percentile(percent));
        out.field(
            format_args!("latency_percentiles_usec_{name}"),
            format_args!("p50={},p99={},p99.9={}", at(50.0), at(99.0), at(99.9)),
        );
    }
}

fn microseconds(ns: u64) -> String {
    format!("{:.3}", ns as f64 / 1000.0)
}

fn keyspace(out: &mut Text, total: &ShardCounters) {
    out.heading("Keyspace");
    for (index, database) in total.databases.iter().filter(|(_, database)| database.keys > 0) {
        out.field(
            format_args!("db{index}"),
            format_args!(
                "keys={},expires={},avg_ttl={}",
                database.keys, database.expires, database.avg_ttl_ms
            ),
        );
    }
}
