//! `procura healthcheck`: what a container's health check runs, since the image holds no other program to ask with.

use super::{CliError, Context};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Shorter than any orchestrator's own limit, so that the reason is printed.
const LIMIT: Duration = Duration::from_secs(2);

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Succeeds if the server of this configuration answers `GET /readyz` with 200.
pub async fn run(context: &Context, _args: Args) -> Result<(), CliError> {
    let address = own_address(context.config()?.listen);
    let asked = tokio::time::timeout(LIMIT, readiness(address)).await;
    let status = asked.map_err(|_| CliError::new(format!("{address} does not answer within {} s", LIMIT.as_secs())))?;
    let status = status.map_err(|error| CliError::new(format!("{address}: {error}")))?;
    if status == "200" { Ok(()) } else { Err(CliError::new(format!("{address} is not ready: status {status}"))) }
}

/// The status code of `/readyz`. HTTP/1.0, so that the server closes the connection after its answer.
async fn readiness(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET /readyz HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(1024).read_to_end(&mut answer).await?;
    Ok(status_of(&String::from_utf8_lossy(&answer)))
}

/// The second word of an HTTP answer.
fn status_of(answer: &str) -> String {
    answer.split_ascii_whitespace().nth(1).unwrap_or("missing").to_owned()
}

/// Where a server that listens on `listen` can be reached from its own host.
fn own_address(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) => IpAddr::V4(if ip.is_unspecified() { Ipv4Addr::LOCALHOST } else { ip }),
        IpAddr::V6(ip) => IpAddr::V6(if ip.is_unspecified() { Ipv6Addr::LOCALHOST } else { ip }),
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_every_interface_is_asked_on_loopback() {
        let own = |listen: &str| own_address(listen.parse().unwrap()).to_string();
        assert_eq!(own("0.0.0.0:8420"), "127.0.0.1:8420");
        assert_eq!(own("[::]:8420"), "[::1]:8420");
        assert_eq!(own("192.0.2.7:8420"), "192.0.2.7:8420");
    }

    #[test]
    fn the_status_is_the_second_word_of_an_answer() {
        assert_eq!(status_of("HTTP/1.0 503 Service Unavailable\r\n\r\n"), "503");
        assert_eq!(status_of(""), "missing");
    }
}
