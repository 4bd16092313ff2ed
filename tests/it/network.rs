//! The network between a server and PostgreSQL, which can swallow everything.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Forwards connections to a PostgreSQL. It ends, and with it every connection, when this does.
pub(crate) struct Network {
    address: SocketAddr,
    database: String,
    swallowed: watch::Sender<Swallowed>,
    _tasks: JoinSet<()>,
}

/// Whether new connections are swallowed, and how often all that there were have been.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Swallowed {
    are_new: bool,
    times: u64,
}

impl Network {
    /// In front of the database of this URL, which is that of a [`crate::postgres::Cluster`].
    pub(crate) async fn before(url: &str) -> Self {
        let (rest, directory) = url.split_once("?host=").unwrap();
        let database = rest.rsplit_once('/').unwrap().1.to_owned();
        let socket = PathBuf::from(directory).join(".s.PGSQL.5432");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let swallowed = watch::Sender::new(Swallowed::default());
        let mut tasks = JoinSet::new();
        let seen = swallowed.subscribe();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                connections.spawn(forward(client, socket.clone(), seen.clone()));
            }
        });
        Self { address, database, swallowed, _tasks: tasks }
    }

    /// The URL of the database behind it.
    pub(crate) fn url(&self) -> String {
        format!("postgres://procura@{}/{}?sslmode=disable", self.address, self.database)
    }

    /// From now on nothing goes either way. No connection is closed or reset, for there is nobody who could.
    pub(crate) fn swallow(&self) {
        self.swallowed.send_modify(|swallowed| *swallowed = Swallowed { are_new: true, times: swallowed.times + 1 });
    }

    /// New connections work again. Those from before stay dead, and nobody says so to either end.
    pub(crate) fn come_back(&self) {
        self.swallowed.send_modify(|swallowed| swallowed.are_new = false);
    }
}

async fn forward(mut client: TcpStream, socket: PathBuf, mut seen: watch::Receiver<Swallowed>) {
    let at_first = *seen.borrow();
    if at_first.are_new {
        return held(client).await;
    }
    let Ok(mut server) = UnixStream::connect(socket).await else {
        return;
    };
    let end = tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => End::Closed,
        _ = seen.wait_for(|now| now.times != at_first.times) => End::Swallowed,
    };
    match end {
        End::Closed => {}
        End::Swallowed => held((client, server)).await,
    }
}

enum End {
    Closed,
    Swallowed,
}

/// Keeps what is open open.
async fn held<T>(_open: T) {
    std::future::pending::<()>().await;
}
