//! Histories of the real server, over `kill -9`, judged by the simulator's checker: some order of all commands must explain all replies.
//!
//! Threads speak for the clients; one recorder decides what they say and notes, in one order, what was called and what was answered. A
//! command without a reply when the server dies may have happened or not. A history that no order explains is written to a file.
//!
//! `ANNULUS_HISTORY_SEED` replays the choices (not the timing), `ANNULUS_HISTORY_RUNS` sets the number of runs for campaigns.

use std::{
    collections::VecDeque,
    env, fs,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use annulus_tests::{
    binaries::scratch_parent,
    process::PATIENCE,
    random::{Random, seed_from},
    resp::{Connection, Value},
    server::{DRIVERS, Server, Setup, target_is_redis},
    sim::{
        checker::{Verdict, check, describe_all},
        history::{History, Loss},
        workload::{Sent, Workload},
    },
};

const GROUPS: usize = 4;
const LIVES: usize = 5;
const CLIENTS_MAX: usize = 6;
const PIPELINE_MAX: usize = 3;
/// Replies of one life at most. More would find no more, and take the checker longer.
const REPLIES_MAX: usize = 500;
/// The checker's search goes one level deeper with every operation.
const STACK_BYTES: usize = 256 << 20;

/// Commands to send at once, and how many they are.
struct Job {
    bytes: Vec<u8>,
    replies: usize,
}

/// What a client's thread has to say: a reply, or that the connection is gone.
type Heard = (usize, Option<Value>);

fn converse(client: usize, mut connection: Connection, jobs: &Receiver<Job>, heard: &Sender<Heard>) {
    for job in jobs {
        if connection.send(&job.bytes).is_err() {
            break;
        }
        for _ in 0..job.replies {
            let Ok(reply) = connection.read() else {
                let _ = heard.send((client, None));
                return;
            };
            let _ = heard.send((client, Some(reply)));
        }
    }
    let _ = heard.send((client, None));
}

struct Client {
    /// Different for each connection ever made.
    number: u64,
    jobs: Sender<Job>,
    outstanding: VecDeque<Sent>,
}

struct Recorder {
    random: Random,
    workload: Workload,
    history: History,
    connections: u64,
    /// The first reply that is wrong by itself.
    wrong: Option<String>,
}

impl Recorder {
    fn new(mut random: Random, loss: Loss) -> Self {
        let mut workload = Workload::new(&mut random, GROUPS, 0);
        // Nobody here knows in which turn, and at which time, a command ran.
        workload.expires_soon = false;
        // What is lost of commands over several groups is no suffix of one group's history.
        workload.crosses &= loss == Loss::Nothing;
        let history = History::new(workload.crosses);
        Self { random, workload, history, connections: 0, wrong: None }
    }

    /// Speaks to the server until it has given `replies` replies, and ends it while more are due.
    fn live(&mut self, port: u16, replies: usize, end: impl FnOnce()) {
        thread::scope(|scope| {
            let (tell, heard) = channel::<Heard>();
            let clients = 2 + self.random.below(CLIENTS_MAX - 1);
            let mut clients: Vec<Client> = (0..clients)
                .map(|index| {
                    let (jobs, work) = channel::<Job>();
                    let tell = tell.clone();
                    let connection = Connection::tcp(port).expect("a client connects");
                    scope.spawn(move || converse(index, connection, &work, &tell));
                    self.connections += 1;
                    Client { number: self.connections, jobs, outstanding: VecDeque::new() }
                })
                .collect();
            drop(tell);
            for client in &mut clients {
                self.speak(client);
            }
            for _ in 0..replies {
                let (index, reply) = heard.recv_timeout(PATIENCE).expect("the server answers");
                let client = &mut clients[index];
                self.listen(client, reply.expect("the server keeps its connections"));
                if client.outstanding.is_empty() {
                    self.speak(client);
                }
            }
            end();
            // What is still on its way comes in; what has no reply then stays unknown.
            for client in &mut clients {
                client.jobs = channel().0;
            }
            for (index, reply) in heard {
                if let Some(reply) = reply {
                    self.listen(&mut clients[index], reply);
                }
            }
        });
    }

    fn speak(&mut self, client: &mut Client) {
        let mut replies = 0;
        let mut bytes = Vec::new();
        for _ in 0..=self.random.below(PIPELINE_MAX) {
            let command = self.workload.command(&mut self.random, client.number, &mut self.history, 0);
            bytes.extend_from_slice(&command.bytes);
            replies += command.sent.len();
            client.outstanding.extend(command.sent);
        }
        client.jobs.send(Job { bytes, replies }).expect("the client's thread listens");
    }

    fn listen(&mut self, client: &mut Client, reply: Value) {
        let sent = client.outstanding.pop_front().expect("a reply belongs to a command");
        if let Err(wrong) = sent.on_reply(reply, &mut self.history) {
            self.wrong.get_or_insert(wrong);
        }
    }
}

/// Lives of a server, each ended by `kill -9`, and what the clients saw of them.
fn record(setup: &Setup, shards: &[usize], loss: Loss, random: &mut Random) -> Recorder {
    let mut recorder = Recorder::new(Random::new(random.bits()), loss);
    let mut server = setup.clone().shards(shards[0]).start();
    for life in 0..LIVES {
        let replies = 20 + random.below(REPLIES_MAX);
        recorder.live(server.port(), replies, || server.kill());
        recorder.history.restart(loss);
        server.start_again_as(&setup.clone().shards(shards[(life + 1) % shards.len()]));
    }
    // Enough to see every key once more.
    recorder.live(server.port(), 100, || Server::kill(&mut server));
    recorder
}

/// A history that nothing explains, or too many that nobody can decide on.
struct Failure {
    why: String,
    /// In words; empty if there is none.
    history: String,
    seed: u64,
}

impl Failure {
    fn panic(&self) -> ! {
        let path = scratch_parent().join(format!("history-{}.txt", self.seed));
        fs::write(&path, &self.history).expect("the history can be written");
        panic!("ANNULUS_HISTORY_SEED={}: {}\nthe whole history: {}", self.seed, self.why, path.display());
    }
}

/// Records and judges.
fn runs(setups: &[(Setup, &[usize])], loss: Loss) -> Result<(), Failure> {
    let seed = seed_from("ANNULUS_HISTORY_SEED");
    let asked = env::var("ANNULUS_HISTORY_RUNS").ok().map(|text| text.parse().expect("a number of runs"));
    let runs = asked.unwrap_or(setups.len());
    eprintln!("ANNULUS_HISTORY_SEED={seed}; {runs} runs of {} kills each on {setups:?}", LIVES + 1);
    let mut random = Random::new(seed);
    let (mut undecided, mut operations) = (0, 0);
    for run in 0..runs {
        let (setup, shards) = &setups[run % setups.len()];
        let Recorder { history, wrong, .. } = record(setup, shards, loss, &mut random);
        operations += history.operations.len();
        match wrong.map_or_else(|| check(&history, GROUPS), Verdict::Violation) {
            Verdict::Linearizable => {}
            Verdict::Undecided => undecided += 1,
            Verdict::Violation(why) => {
                let why = format!("run {run} on {setup:?}: {why}");
                return Err(Failure { why, history: describe_all(&history), seed });
            }
        }
    }
    eprintln!("{runs} runs, {operations} operations, {undecided} runs undecided");
    if undecided > runs / 4 {
        let why = format!("{undecided} of {runs} histories are undecided");
        return Err(Failure { why, history: String::new(), seed });
    }
    Ok(())
}

/// [`runs`], with room for the checker.
fn judged(setups: Vec<(Setup, &'static [usize])>, loss: Loss) -> Result<(), Failure> {
    let judge = thread::Builder::new().stack_size(STACK_BYTES).spawn(move || runs(&setups, loss));
    judge.expect("a thread can be started").join().expect("the recorder saw only what it may see")
}

#[test]
fn histories_over_kills_are_linearizable() {
    let on = |driver| (Setup::annulus().driver(driver).durability("always"), [2, 2, 3, 1].as_slice());
    judged(DRIVERS.map(on).to_vec(), Loss::Nothing).unwrap_or_else(|failure| failure.panic());
}

#[test]
fn histories_over_kills_lose_only_a_tail_in_relaxed_modes() {
    if target_is_redis() {
        return;
    }
    let on = |durability| (Setup::annulus().durability(durability), [2, 1].as_slice());
    judged(["everysec", "none"].map(on).to_vec(), Loss::Tail).unwrap_or_else(|failure| failure.panic());
}

#[test]
fn history_of_a_server_that_keeps_nothing_is_not_linearizable() {
    let Err(failure) = judged(vec![(Setup::redis().durability("none"), &[1])], Loss::Nothing) else {
        panic!("everything was lost again and again, and an order was found that explains it")
    };
    let found = ["no order of the operations explains", "half a"];
    assert!(found.iter().any(|it| failure.why.contains(it)), "{}", failure.why);
}
