//! Cuts TCP connections of this process in the middle: what a network does, at the moment a test wants.

use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::net::{Shutdown, getpeername, getsockname, shutdown};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// Cuts every connection from or to one of these local ports. Returns how many there were.
pub fn connections(ports: &[u16]) -> usize {
    let own = pidfd_open(getpid(), PidfdFlags::empty()).expect("a process can name itself");
    let copies = sockets().into_iter().filter_map(|fd| {
        let copy = pidfd_getfd(&own, fd, PidfdGetfdFlags::empty());
        copy.ok().filter(|copy| touches(copy, ports))
    });
    copies
        .filter(|copy| shutdown(copy, Shutdown::Both).is_ok())
        .count()
}

/// The numbers of this process's sockets.
fn sockets() -> Vec<i32> {
    let entries = fs::read_dir("/proc/self/fd").expect("Linux");
    let is_socket = |path: &std::path::Path| {
        fs::read_link(path).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
    };
    entries
        .flatten()
        .filter(|entry| is_socket(&entry.path()))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// Says whether it is a connection, and one end has such a port.
fn touches(socket: &OwnedFd, ports: &[u16]) -> bool {
    let port = |address| {
        SocketAddr::try_from(address)
            .ok()
            .map(|address| address.port())
    };
    let Some(theirs) = getpeername(socket).ok().flatten().and_then(port) else {
        return false;
    };
    let ours = getsockname(socket).ok().and_then(port);
    ports.contains(&theirs) || ours.is_some_and(|ours| ports.contains(&ours))
}
