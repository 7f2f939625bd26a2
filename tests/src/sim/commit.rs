//! A seed means the same only in the same code: which commit this is, and running a seed in another one.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// The code that runs: its commit, and whether the tree has changed since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The commit.
    pub hash: String,
    /// Files differ from it.
    pub dirty: bool,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn git<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Result<String, String> {
    let output = Command::new("git").current_dir(root()).args(args).output();
    let output = output.map_err(|error| format!("git cannot be run: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

impl Head {
    /// That of the tree from which this was built; nothing where there's no git.
    pub fn of_tree() -> Option<Head> {
        let hash = git(["rev-parse", "HEAD"]).ok()?;
        let dirty = !git(["status", "--porcelain", "--untracked-files=no"]).ok()?.is_empty();
        Some(Head { hash, dirty })
    }
}

/// A tree of a commit, removed in the end.
struct Tree {
    directory: tempfile::TempDir,
}

impl Tree {
    fn path(&self) -> PathBuf {
        self.directory.path().join("tree")
    }

    fn of(commit: &str) -> Result<Tree, String> {
        let directory = tempfile::tempdir().map_err(|error| format!("no temporary directory: {error}"))?;
        let tree = Tree { directory };
        let path = tree.path();
        let add = ["worktree", "add", "--quiet", "--detach"].map(OsStr::new);
        git(add.into_iter().chain([path.as_os_str(), OsStr::new(commit)]))?;
        Ok(tree)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let path = self.path();
        if let Err(error) =
            git(["worktree", "remove", "--force"].map(OsStr::new).into_iter().chain([path.as_os_str()]))
        {
            eprintln!("{} stays in git's list of worktrees: {error}", path.display());
        }
    }
}

/// Builds a commit's simulator in a tree of its own and runs it with these arguments. What it needs from outside is built once for
/// all commits, in `target/commits`.
pub fn run_at(commit: &str, arguments: &[String]) -> Result<ExitStatus, String> {
    let hash = git(["rev-parse", "--verify", &format!("{commit}^{{commit}}")])
        .map_err(|error| format!("{commit} is no commit: {error}"))?;
    let tree = Tree::of(&hash)?;
    eprintln!("building {hash}");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Command::new(cargo)
        .current_dir(tree.path())
        .env("CARGO_TARGET_DIR", root().join("target/commits"))
        .args(["run", "--quiet", "--release", "-p", "annulus-tests", "--bin", "simulate", "--"])
        .args(arguments)
        .status()
        .map_err(|error| format!("cargo cannot be run: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_that_is_none_is_said_to_be_none() {
        let error = run_at("no-such-commit", &[]).expect_err("there's no such commit");
        assert!(error.contains("no-such-commit is no commit"), "{error}");
    }

    #[test]
    fn a_tree_of_a_commit_is_there_and_gone_afterwards() {
        // An archive of the sources has no history.
        let Some(head) = Head::of_tree() else { return };
        let tree = Tree::of(&head.hash).expect("a tree");
        let path = tree.path();
        assert!(path.join("Cargo.toml").exists());
        drop(tree);
        assert!(!path.exists());
        assert!(!git(["worktree", "list"]).expect("a list").contains(&*path.to_string_lossy()));
    }
}
