//! The simulator's model of the commands against redis-server. One client that waits for each reply leaves one possible order, and the
//! checker must explain every reply with it: so what it demands of our server is what Redis does.

use annulus_tests::{
    random::Random,
    server::Setup,
    sim::{
        checker::{Verdict, check},
        history::History,
        workload::{OLD_KINDS, Workload},
    },
};

const GROUPS: usize = 2;
const SEEDS: u64 = 12;
const COMMANDS: usize = 400;

#[test]
fn the_model_does_what_redis_does() {
    let server = Setup::redis().start();
    let mut connection = server.connect();
    for seed in 0..SEEDS {
        let mut random = Random::new(seed);
        let mut workload = Workload::new(&mut random, GROUPS, 0);
        workload.kinds = (0..OLD_KINDS).collect();
        // Nobody here knows at which time a command ran.
        workload.expires_soon = false;
        workload.later = false;
        workload.saves_one_in = 0;
        workload.everywhere = false;
        let mut history = History::default();
        connection.command(&["FLUSHALL"]);
        for _ in 0..COMMANDS {
            let command = workload.command(&mut random, 1, &mut history, 0);
            connection.send(&command.bytes).expect("redis-server takes commands");
            for sent in command.sent {
                let reply = connection.read().expect("redis-server answers");
                sent.on_reply(reply, &mut history).expect("a reply that fits");
            }
        }
        let verdict = check(&history, GROUPS);
        assert_eq!(verdict, Verdict::Linearizable, "seed {seed}: {verdict:?}");
    }
}
