use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn shard(keys: u64) -> ShardCounters {
    let mut shard = ShardCounters::default();
    shard.clients.connected = 2;
    shard.memory.dataset = 1000;
    shard.memory.tables = 24;
    shard.log.last_lsn = 10 * keys;
    shard.log.durable_lsn = 10 * keys - 3;
    shard.databases.insert(0, DatabaseCounters { keys, expires: keys, avg_ttl_ms: 100 * keys });
    shard.databases.insert(3, DatabaseCounters::default());
    shard.errors.insert("WRONGTYPE".into(), 1);
    let mut latency = crate::admin::histogram::Histogram::new();
    latency.record(2000);
    shard
        .commands
        .insert("get", CommandCounters { calls: 4, ns: 10_000, latency, ..CommandCounters::default() });
    shard
}

fn with_facts(check: impl FnOnce(&ServerFacts<'_>)) {
    let settings = Settings { shards: 2, port: 7000, ..Settings::default() };
    let shards = [shard(1), shard(3)];
    check(&ServerFacts {
        settings: &settings,
        process: ProcessFacts {
            resident_bytes: 4096,
            machine_memory_bytes: 1 << 31,
            ..ProcessFacts::default()
        },
        run_id: "0123456789012345678901234567890123456789",
        executable: "/usr/bin/annulus",
        config_file: "",
        io_driver: "uring",
        io_features: "multishot-recv,bundles",
        now_us: 1_000_000_000,
        uptime_seconds: 400,
        loading: false,
        maxmemory: 0,
        maxmemory_policy: "noeviction",
        last_save_seconds: 600,
        saving: false,
        backup: super::BackupState { is_under_way: true, last_seconds: 900, last_failed: false },
        older_epochs: 2,
        maxclients: 9000,
        used_memory_peak: 0,
        scripts: (2, 300),
        functions: (1, 3),
        shards: &shards,
    });
}

/// Reads the text as clients do: sections of fields.
fn parse(text: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut sections = BTreeMap::new();
    let mut fields: Option<&mut BTreeMap<String, String>> = None;
    for line in text.split("\r\n").filter(|line| !line.is_empty()) {
        if let Some(title) = line.strip_prefix("# ") {
            assert!(!sections.contains_key(title), "{title} stands twice");
            fields = Some(sections.entry(title.to_owned()).or_default());
        } else {
            let (name, value) = line.split_once(':').expect("a field is a name, a colon and a value");
            let fields = fields.as_mut().expect("a field stands in a section");
            assert!(fields.insert(name.to_owned(), value.to_owned()).is_none(), "{name} stands twice");
        }
    }
    sections
}

fn titles(facts: &ServerFacts<'_>, names: &[&[u8]]) -> Vec<String> {
    let text = render(facts, names);
    text.lines().filter_map(|line| line.strip_prefix("# ")).map(str::to_owned).collect()
}

#[test]
fn sections_are_chosen_by_name_in_any_case_and_printed_in_order() {
    with_facts(|facts| {
        let plain = titles(facts, &[]);
        assert_eq!(plain, titles(facts, &[b"DEFAULT"]));
        assert!(plain.contains(&"Errorstats".to_owned()) && !plain.contains(&"Commandstats".to_owned()));
        assert_eq!(titles(facts, &[b"keyspace", b"Server", b"server"]), ["Server", "Keyspace"]);
        assert_eq!(titles(facts, &[b"nosuch"]), Vec::<String>::new());
        let all = titles(facts, &[b"all"]);
        assert!(all.contains(&"Commandstats".to_owned()) && !all.contains(&"Modules".to_owned()));
        assert_eq!(titles(facts, &[b"everything"]).len(), SECTIONS.len());
        assert_eq!(titles(facts, &[b"cpu", b"default"]), plain);
    });
}

#[test]
fn counters_of_all_shards_add_up() {
    with_facts(|facts| {
        let sections = parse(&render(facts, &[b"everything"]));
        assert_eq!(sections["Clients"]["connected_clients"], "4");
        assert_eq!(sections["Memory"]["used_memory"], "2048");
        assert_eq!(sections["Memory"]["used_memory_human"], "2.00K");
        assert_eq!(sections["Memory"]["used_memory_dataset_perc"], "97.66%");
        assert_eq!(sections["Memory"]["mem_fragmentation_ratio"], "2.00");
        assert_eq!(sections["Persistence"]["log_undurable_lsns"], "6");
        assert_eq!(sections["Persistence"]["rdb_last_save_time"], "600");
        assert_eq!(
            sections["Commandstats"]["cmdstat_get"],
            "calls=8,usec=20,usec_per_call=2.50,rejected_calls=0,failed_calls=0"
        );
        assert_eq!(sections["Errorstats"]["errorstat_WRONGTYPE"], "count=2");
        assert_eq!(sections["Keyspace"]["db0"], "keys=4,expires=4,avg_ttl=250");
        assert!(!sections["Keyspace"].contains_key("db3"), "an empty database is not listed");
        assert!(sections["Latencystats"]["latency_percentiles_usec_get"].starts_with("p50=2.0"));
        assert!(sections["Shards"]["shard1"].starts_with("keys=3,clients=2,"));
    });
}

/// What monitoring systems and client libraries read, by section.
#[test]
fn fields_that_tools_read_are_there() {
    let wanted = [
        (
            "Server",
            "redis_version redis_mode os arch_bits process_id run_id tcp_port uptime_in_seconds hz executable config_file",
        ),
        (
            "Clients",
            "connected_clients maxclients blocked_clients tracking_clients client_recent_max_input_buffer",
        ),
        (
            "Memory",
            "used_memory used_memory_rss used_memory_peak used_memory_dataset total_system_memory maxmemory maxmemory_policy mem_fragmentation_ratio mem_allocator",
        ),
        (
            "Persistence",
            "loading rdb_changes_since_last_save rdb_bgsave_in_progress rdb_last_save_time rdb_last_bgsave_status aof_enabled aof_last_write_status",
        ),
        (
            "Stats",
            "total_connections_received total_commands_processed instantaneous_ops_per_sec rejected_connections expired_keys evicted_keys keyspace_hits keyspace_misses total_error_replies",
        ),
        ("Replication", "role connected_slaves master_replid master_repl_offset"),
        ("CPU", "used_cpu_sys used_cpu_user"),
        ("Cluster", "cluster_enabled"),
    ];
    with_facts(|facts| {
        let sections = parse(&render(facts, &[b"everything"]));
        for (section, fields) in wanted {
            let there: BTreeSet<&str> = sections[section].keys().map(String::as_str).collect();
            for field in fields.split(' ') {
                assert!(there.contains(field), "{section} lacks {field}");
            }
        }
        assert_eq!(sections["Server"]["redis_version"], REDIS_VERSION);
        assert_eq!(sections["Server"]["tcp_port"], "7000");
    });
}

#[test]
fn bytes_for_people_look_as_in_redis() {
    assert_eq!(human_bytes(0), "0B");
    assert_eq!(human_bytes(1023), "1023B");
    assert_eq!(human_bytes(941_176), "919.12K");
    assert_eq!(human_bytes(25_276_510_208), "23.54G");
}
