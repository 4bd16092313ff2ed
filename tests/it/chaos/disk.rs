//! Disks below a SQLite file: one that is really full, and one that fails as it is told.

use super::deployment::{Deployment, Launch};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system in memory, mounted on a directory. It goes when this does.
pub(super) struct SmallDisk {
    directory: PathBuf,
}

impl SmallDisk {
    const MEGABYTES: u32 = 24;

    /// Where mounting is permitted; otherwise says why not.
    pub(super) fn mount(directory: &Path) -> Result<Self, String> {
        let size = format!("size={}m,mode=0700", Self::MEGABYTES);
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(directory).output();
        match mount {
            Ok(output) if output.status.success() => Ok(Self { directory: directory.to_owned() }),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim_end().to_owned()),
            Err(problem) => Err(format!("mount: {problem}")),
        }
    }

    /// Takes all the room that is left.
    pub(super) fn fill(&self) {
        let mut ballast = File::create(self.ballast()).unwrap();
        // Smaller pieces take what the larger ones leave.
        for piece in [1 << 20, 1 << 12, 1] {
            while ballast.write(&vec![0; piece]).is_ok_and(|written| written > 0) {}
        }
    }

    /// Gives it back.
    pub(super) fn empty(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.directory.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // From below whoever still uses it, if the test failed.
        let _ = Command::new("umount").arg("--lazy").arg(&self.directory).status();
    }
}

/// What lies between a server and its disk, and fails when it is told: see `failing_disk.c`.
pub(super) struct FailingDisk {
    library: PathBuf,
    failure: PathBuf,
}

impl FailingDisk {
    /// Built by the C compiler that built SQLite.
    pub(super) fn build(deployment: &Deployment) -> Self {
        let directory = deployment.directory.path();
        let (source, library) = (directory.join("failing_disk.c"), directory.join("failing_disk.so"));
        std::fs::write(&source, include_str!("failing_disk.c")).unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-U_FORTIFY_SOURCE", "-o"]).arg(&library).arg(&source);
        let output = compiler.output().expect("this test needs cc");
        assert!(output.status.success(), "{output:?}");
        Self { library, failure: directory.join("failure") }
    }

    /// Starts the server above it.
    pub(super) fn launch(&self, deployment: &Deployment) -> Launch {
        deployment.launch_with(&[("LD_PRELOAD", &self.library), ("FAILING_DISK", &self.failure)])
    }

    /// From now on every write to the database is an error, as on a file system that has become read-only.
    pub(super) fn becomes_read_only(&self) {
        self.fails("read-only");
    }

    /// From now on every write and every flush is an error of the disk.
    pub(super) fn breaks(&self) {
        self.fails("broken");
    }

    fn fails(&self, how: &str) {
        // Not by halves: it is read at every write.
        let new = self.failure.with_extension("new");
        std::fs::write(&new, how).unwrap();
        std::fs::rename(new, &self.failure).unwrap();
    }

    /// All is well again.
    pub(super) fn heals(&self) {
        std::fs::remove_file(&self.failure).unwrap();
    }
}
