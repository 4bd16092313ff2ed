//! Throw-away PostgreSQL clusters, made by the programs that are installed, gone when the run ends: one for all tests,
//! and more for tests that crash theirs.

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Makes the cluster, says `ready`, and stops it once this process has ended: then its standard input closes, however
/// the end came. Until then it obeys the lines `stop`, `start`, `limit BYTES` and `signal NAME`. Signals for the whole process group are left to the
/// tests.
///
/// Nothing here has to survive a crash of the machine, so nothing waits for the disk.
const KEEPER: &str = r#"
trap '' INT TERM HUP
start() {
    "$BIN/pg_ctl" --pgdata="$HOME_DIR/data" --log="$HOME_DIR/server.log" --wait --timeout=60 start \
        --options="-c listen_addresses= -c unix_socket_directories=$HOME_DIR -c max_connections=400 \
        -c fsync=off -c full_page_writes=off -c shared_buffers=64MB -c autovacuum=off"
}
stop() {
    "$BIN/pg_ctl" --pgdata="$HOME_DIR/data" --mode=immediate --wait --timeout=60 stop
}
limit() {
    master=$(head -n 1 "$HOME_DIR/data/postmaster.pid")
    for pid in "$master" $(cat "/proc/$master/task/$master/children"); do
        prlimit --pid="$pid" --fsize="$1:" || ! kill -0 "$pid" || return 1
    done
}
signal() {
    master=$(head -n 1 "$HOME_DIR/data/postmaster.pid")
    kill -s "$1" "$master" $(cat "/proc/$master/task/$master/children")
}
{
    "$BIN/initdb" --pgdata="$HOME_DIR/data" --username=procura --auth=trust --encoding=UTF8 --no-locale --no-sync \
        --wal-segsize="$SEGMENT_MB" && start
} >"$HOME_DIR/setup.log" 2>&1 || { tail -n 5 "$HOME_DIR/setup.log" "$HOME_DIR/server.log" 2>&1 | tr '\n' ' '; rm -rf "$HOME_DIR"; exit 1; }
echo ready
while read -r order; do
    { $order; } >>"$HOME_DIR/setup.log" 2>&1 </dev/null && echo done || echo failed
done
signal CONT 2>/dev/null
stop >/dev/null 2>&1
rm -rf "$HOME_DIR"
"#;

/// A running cluster. It ends when the keeper's standard input closes: with this, or with the process.
pub(crate) struct Cluster {
    directory: PathBuf,
    keeper: Child,
    answers: BufReader<ChildStdout>,
}

/// For all tests that do no harm to it. It is never dropped.
static CLUSTER: OnceLock<Cluster> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(1);

/// Creates an empty database and returns its URL.
pub(crate) async fn database() -> String {
    CLUSTER.get_or_init(|| Cluster::start(16)).database().await
}

impl Cluster {
    /// With segments of the write-ahead log of this size.
    pub(crate) fn start(segment_mb: u32) -> Self {
        let bin = newest_installation();
        let directory = tempfile::Builder::new().prefix("procura-pg-").tempdir().unwrap().keep();
        let mut command = keeper_command(&directory);
        command.env("BIN", &bin).env("HOME_DIR", &directory).env("SEGMENT_MB", segment_mb.to_string());
        command.current_dir(&directory).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut keeper = command.spawn().unwrap();
        let answers = BufReader::new(keeper.stdout.take().unwrap());
        let mut cluster = Self { directory, keeper, answers };
        assert_eq!(cluster.answer(), "ready", "the PostgreSQL of {} does not start", bin.display());
        cluster
    }

    /// Creates an empty database and returns its URL.
    pub(crate) async fn database(&self) -> String {
        let mut connection = PgConnection::connect(&self.url("postgres")).await.unwrap();
        let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        self.url(&name)
    }

    /// Stops the server as a crash would: every connection is cut, nothing is written any more.
    pub(crate) fn crash(&mut self) {
        self.order("stop");
    }

    /// Starts the server again.
    pub(crate) fn restart(&mut self) {
        self.order("start");
    }

    /// Lets no file of the server grow past this many bytes: as on a full disk; or any again.
    pub(crate) fn limit_files(&mut self, bytes: Option<u64>) {
        self.order(&format!("limit {}", bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string())));
    }

    /// Lets every process of the server stand still: connections stay open, and nothing is answered.
    pub(crate) fn freeze(&mut self) {
        self.order("signal STOP");
    }

    /// Lets them go on.
    pub(crate) fn thaw(&mut self) {
        self.order("signal CONT");
    }

    fn order(&mut self, order: &str) {
        writeln!(self.keeper.stdin.as_mut().unwrap(), "{order}").unwrap();
        assert_eq!(self.answer(), "done", "PostgreSQL does not {order}");
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://procura@localhost/{database}?host={}", self.directory.display())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// A shell for [`KEEPER`]; PostgreSQL refuses to run as root, so root hands over to another user.
fn keeper_command(directory: &Path) -> Command {
    if !is_root(directory) {
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER]);
        return command;
    }
    let user = ["postgres", "nobody"].into_iter().find(|user| succeeds(Command::new("id").args(["-u", user])));
    let user = user.expect("as root these tests run PostgreSQL as the user postgres or nobody, and there is neither");
    assert!(succeeds(Command::new("chown").arg(user).arg(directory)), "cannot give a directory to {user}");
    let mut command = Command::new("setpriv");
    let group = String::from_utf8(Command::new("id").args(["-g", user]).output().unwrap().stdout).unwrap();
    command.args(["--reuid", user, "--regid", group.trim(), "--clear-groups", "sh", "-c", KEEPER]);
    command
}

/// True if what we make belongs to root.
fn is_root(directory: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(directory).unwrap().uid() == 0
}

fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// The `bin` directory of the newest PostgreSQL: Debian's versioned ones first, then `PATH`.
fn newest_installation() -> PathBuf {
    let versioned = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versioned
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("initdb").exists())
        .max();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path =
        || std::env::split_paths(&path).find(|bin| bin.join("initdb").exists() && bin.join("pg_ctl").exists());
    newest.map(|(_, bin)| bin).or_else(on_path).expect(
        "these tests need PostgreSQL's initdb and pg_ctl, in /usr/lib/postgresql or on PATH: apt-get install postgresql",
    )
}
