//! A real file system (ext4) on a disk whose power can be cut.
//!
//! `powercut/volatile_disk.py` is the disk: an nbdkit plugin whose unflushed writes live in memory only. nbdfuse shows it as a
//! file, a loop device with direct I/O makes a block device of that, and ext4 is mounted from there: io_uring, `O_DIRECT` and
//! `RWF_DSYNC` work as on a drive, and what is not flushed is lost at the cut, torn and reordered as the seed says.
//!
//! It needs root, loop devices, FUSE and Debian's [`PACKAGES`]. Nothing is left behind: a process of its own (the
//! janitor) takes all apart when this one ends, however it ends.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    binaries,
    process::{PATIENCE, poll_until, wait_exit, wait_for},
    random::Random,
    server::scratch_dir,
};

/// What to install.
pub const PACKAGES: &str = "nbdkit nbdkit-plugin-python libnbd-bin fuse3 e2fsprogs";

const DISK_SIZE: &str = "512M";
/// How long requests may stay away before the cut is helped along by one of ours.
const IDLE: Duration = Duration::from_millis(20);

/// What of the unflushed sectors reaches the disk at a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// None.
    Nothing,
    /// The first ones, in the order of writing.
    Prefix,
    /// Each with a chance of so many per cent.
    Subset(u8),
}

/// A power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// What survives of what was not flushed.
    pub keep: Keep,
    /// Chooses among the sectors.
    pub seed: u64,
    /// Requests that the disk still serves.
    pub after: usize,
}

impl Cut {
    /// Some cut, after less than `after` requests.
    pub fn random(random: &mut Random, after: usize) -> Self {
        let keep = match random.below(6) {
            0 | 1 => Keep::Nothing,
            2 => Keep::Prefix,
            3 => Keep::Subset(10),
            4 => Keep::Subset(50),
            _ => Keep::Subset(90),
        };
        Self { keep, seed: random.bits(), after: random.below(after) }
    }

    fn line(self) -> String {
        let (keep, percent) = match self.keep {
            Keep::Nothing => ("nothing", 0),
            Keep::Prefix => ("prefix", 0),
            Keep::Subset(percent) => ("subset", percent),
        };
        format!("{keep} {} {percent} {}\n", self.seed, self.after)
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct PowerDisk {
    home: TempDir,
    serving: Option<Child>,
    /// Its end of file is the janitor's sign.
    janitor: Option<(Child, ChildStdin)>,
}

impl PowerDisk {
    /// A new disk with an empty file system, mounted. Why not, where this is not permitted.
    pub fn new() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root may mount".to_owned());
        }
        for program in ["nbdkit", "nbdfuse", "fusermount3"] {
            if !binaries::can_have(program, PACKAGES) {
                return Err(format!("`{program}` is missing: apt-get install {PACKAGES}"));
            }
        }
        let home = scratch_dir();
        for name in ["mnt", "fs"] {
            fs::create_dir(home.path().join(name)).map_err(|error| error.to_string())?;
        }
        run("truncate", &["-s", DISK_SIZE, &text(&home.path().join("image"))])?;
        let mut disk = Self { janitor: Some(janitor(home.path())?), home, serving: None };
        disk.power_on(true)?;
        Ok(disk)
    }

    /// Where the file system is mounted.
    pub fn root(&self) -> PathBuf {
        self.path("fs")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// From now on the power may go at any request; see [`Self::wait_for_cut`].
    pub fn arm(&self, cut: Cut) {
        // By renaming, because the disk must not see half a line.
        let draft = self.path("cut.draft");
        fs::write(&draft, cut.line()).expect("the cut can be written down");
        fs::rename(&draft, self.path("cut")).expect("the cut can be named");
    }

    /// Whether the power is off.
    pub fn is_off(&self) -> bool {
        self.path("off").exists()
    }

    /// Waits until the power is off. An armed cut comes, also when nobody else uses the disk.
    pub fn wait_for_cut(&self) {
        let file = format!("if={}", text(&self.path("mnt/nbd")));
        wait_for("the power is off", || {
            thread::sleep(IDLE);
            if !self.is_off() {
                let _ = Command::new("dd").args([&file, "of=/dev/null", "bs=4096", "count=1"]).output();
                let _ = Command::new("dd")
                    .args([&file, "of=/dev/null", "bs=4096", "count=1", "iflag=direct"])
                    .output();
            }
            self.is_off()
        });
    }

    /// The power comes back: the file system is mounted again, with what reached the disk. All users must be gone.
    pub fn restore(&mut self) {
        self.power_off();
        let _ = fs::remove_file(self.path("off"));
        let _ = fs::remove_file(self.path("cut"));
        self.power_on(false).unwrap_or_else(|error| panic!("the disk does not come back: {error}"));
    }

    fn power_on(&mut self, new: bool) -> Result<(), String> {
        let plugin = concat!(env!("CARGO_MANIFEST_DIR"), "/powercut/volatile_disk.py");
        let image = format!("image={}", text(&self.path("image")));
        let said = fs::File::create(self.path("disk.log")).map_err(|error| error.to_string())?;
        let serving = Command::new("nbdfuse")
            .arg(self.path("mnt"))
            .args(["--command", "nbdkit", "-s", "--exit-with-parent", "python", plugin, &image])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn();
        self.serving = Some(serving.map_err(|error| format!("nbdfuse: {error}"))?);
        let file = self.path("mnt/nbd");
        if poll_until(PATIENCE, || file.exists().then_some(())).is_none() {
            return Err(format!(
                "no disk: {}",
                fs::read_to_string(self.path("disk.log")).unwrap_or_default()
            ));
        }
        let device = attach(&text(&file))?;
        if new {
            // All of it at once: nothing else shall write to the disk later than the server.
            let options = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
            run("mkfs.ext4", &["-q", "-F", "-m", "0", "-E", options, &device])?;
        }
        run("mount", &["-t", "ext4", &device, &text(&self.root())])?;
        // Not before the file system is gone: then by itself.
        run("losetup", &["--detach", &device])?;
        Ok(())
    }

    fn power_off(&mut self) {
        take_away(self.home.path());
        if let Some(mut serving) = self.serving.take()
            && wait_exit(&mut serving, PATIENCE).is_none()
        {
            let _ = serving.kill();
            let _ = serving.wait();
        }
    }
}

impl Drop for PowerDisk {
    fn drop(&mut self) {
        self.power_off();
        if let Some((mut janitor, signs)) = self.janitor.take() {
            drop(signs);
            let _ = janitor.wait();
        }
    }
}

/// A free loop device may be taken by another between being found and being used.
fn attach(file: &str) -> Result<String, String> {
    let find = || run("losetup", &["--find", "--show", "--direct-io=on", file]);
    (0..5).find_map(|_| find().ok()).map_or_else(find, Ok)
}

fn take_away(home: &Path) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/powercut/take_away.sh");
    let _ = Command::new("sh").arg(script).arg(home).output();
}

/// In a session of its own: what ends the tests by their process group does not end it.
fn janitor(home: &Path) -> Result<(Child, ChildStdin), String> {
    let spawned = Command::new("setsid")
        .args(["sh", concat!(env!("CARGO_MANIFEST_DIR"), "/powercut/janitor.sh")])
        .arg(home)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut child = spawned.map_err(|error: io::Error| format!("setsid: {error}"))?;
    let signs = child.stdin.take().ok_or("the janitor has no input")?;
    Ok((child, signs))
}

fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("{program} {}: {}", arguments.join(" "), said.trim()))
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
