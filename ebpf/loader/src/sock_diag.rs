//! The kernel's list of TCP sockets: connections, the call that destroys one (`SOCK_DESTROY`), and listeners, over netlink.
//!
//! What `ss -K` and `ss -lm` do, without running `ss`: a share of the connections can be chosen, and each is told by its cookie. Needs
//! `CAP_NET_ADMIN` and a kernel with `CONFIG_INET_DIAG_DESTROY` (Debian's have it). It sees one network namespace, its own.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::OwnedFd,
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType,
        netlink::{self, SocketAddrNetlink},
        sockopt::{self, Timeout},
    },
};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
/// The state `TCP_ESTABLISHED` as a bit.
const ESTABLISHED: u32 = 1 << 1;
/// The state `TCP_LISTEN` as a bit.
const LISTEN: u32 = 1 << 10;
/// The attribute with the id of the cgroup that made the socket.
const INET_DIAG_CGROUP_ID: u16 = 21;
/// The attribute with the socket's memory figures, asked for by its own bit.
const INET_DIAG_SKMEMINFO: u16 = 7;
/// Where those have the number of drops (`SK_MEMINFO_DROPS`, `include/uapi/linux/sock_diag.h`).
const MEMORY_DROPS: usize = 8;
/// Lengths of `nlmsghdr`, `inet_diag_sockid`, `inet_diag_msg`.
const HEADER: usize = 16;
const SOCKET_ID: usize = 48;
const MESSAGE: usize = 72;

/// An established TCP connection, seen from the side of one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The cgroup that made the socket.
    pub cgroup_id: u64,
    /// The local port.
    pub local_port: u16,
    /// The peer.
    pub peer: IpAddr,
    /// The peer's port.
    pub peer_port: u16,
    family: u8,
    id: [u8; SOCKET_ID],
}

/// A socket that listens for TCP connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The cgroup that made the socket.
    pub cgroup_id: u64,
    /// The number that the kernel gives to no other socket.
    pub cookie: u64,
    /// The port.
    pub port: u16,
    /// Connections that wait to be accepted.
    pub waiting: u32,
    /// How many may wait (`listen(2)`'s backlog).
    pub limit: u32,
    /// Connections that were asked for and thrown away since it listens, mostly because that many waited (`sk_drops`, which
    /// `TcpExtListenDrops` sums up for the whole machine).
    pub drops: u32,
}

/// A netlink socket.
#[derive(Debug)]
pub struct SockDiag {
    socket: OwnedFd,
    sequence: u32,
}

impl Connection {
    /// The number that the kernel gives to no other socket.
    #[must_use]
    pub fn cookie(&self) -> u64 {
        u64::from_ne_bytes(bytes(&self.id, 40))
    }
}

impl SockDiag {
    /// Opens the netlink socket.
    pub fn open() -> io::Result<Self> {
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            Some(netlink::SOCK_DIAG),
        )?;
        rustix::net::connect(&socket, &SocketAddrNetlink::new(0, 0))?;
        // The kernel answers at once, or not at all.
        sockopt::set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_secs(2)))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Established connections, IPv4 and IPv6, of sockets that these cgroups made.
    pub fn established(&mut self, cgroup_ids: &BTreeSet<u64>) -> io::Result<Vec<Connection>> {
        let mut found = Vec::new();
        for family in [AF_INET, AF_INET6] {
            self.send(
                SOCK_DIAG_BY_FAMILY,
                NLM_F_DUMP,
                family,
                ESTABLISHED,
                &[0; SOCKET_ID],
            )?;
            self.receive(|body| {
                found
                    .extend(connection(body).filter(|found| cgroup_ids.contains(&found.cgroup_id)));
            })?;
        }
        Ok(found)
    }

    /// Every listening socket, IPv4 and IPv6.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn listeners(&mut self) -> io::Result<Vec<Listener>> {
        let mut found = Vec::new();
        for family in [AF_INET, AF_INET6] {
            let extensions = 1 << (INET_DIAG_SKMEMINFO - 1);
            self.send_asking(
                extensions,
                SOCK_DIAG_BY_FAMILY,
                NLM_F_DUMP,
                family,
                LISTEN,
                &[0; SOCKET_ID],
            )?;
            self.receive(|body| found.extend(listener(body)))?;
        }
        Ok(found)
    }

    /// Destroys a connection: ECONNABORTED here, a reset for the peer. False where it is gone already.
    pub fn destroy(&mut self, connection: &Connection) -> io::Result<bool> {
        self.send(
            SOCK_DESTROY,
            NLM_F_ACK,
            connection.family,
            ESTABLISHED,
            &connection.id,
        )?;
        match self.receive(|_| {}) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => Ok(false),
            Err(error) if error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => {
                Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "this kernel cannot destroy connections: it needs CONFIG_INET_DIAG_DESTROY",
                ))
            }
            Err(error) => Err(error),
        }
    }

    fn send(
        &mut self,
        kind: u16,
        flags: u16,
        family: u8,
        states: u32,
        id: &[u8; SOCKET_ID],
    ) -> io::Result<()> {
        self.send_asking(0, kind, flags, family, states, id)
    }

    fn send_asking(
        &mut self,
        extensions: u8,
        kind: u16,
        flags: u16,
        family: u8,
        states: u32,
        id: &[u8; SOCKET_ID],
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let length = HEADER + 8 + SOCKET_ID;
        let mut message = Vec::with_capacity(length);
        message.extend(u32::try_from(length).unwrap_or_default().to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((NLM_F_REQUEST | flags).to_ne_bytes());
        message.extend(self.sequence.to_ne_bytes());
        message.extend(0_u32.to_ne_bytes());
        message.extend([family, IPPROTO_TCP, extensions, 0]);
        message.extend(states.to_ne_bytes());
        message.extend(id);
        rustix::net::send(&self.socket, &message, SendFlags::empty())?;
        Ok(())
    }

    /// Reads until the dump's end or the acknowledgement of the last request.
    fn receive(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut buffer = vec![0_u8; 64 * 1024];
        loop {
            let (length, _) =
                match rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::empty()) {
                    Err(Errno::INTR) => continue,
                    received => received?,
                };
            let mut rest = &buffer[..length];
            while rest.len() >= HEADER {
                let length = u32::from_ne_bytes(bytes(rest, 0)) as usize;
                let kind = u16::from_ne_bytes(bytes(rest, 4));
                let sequence = u32::from_ne_bytes(bytes(rest, 8));
                if length < HEADER || length > rest.len() {
                    return Err(io::Error::other(
                        "the kernel's list of connections is cut short",
                    ));
                }
                let body = &rest[HEADER..length];
                rest = &rest[align(length).min(rest.len())..];
                if sequence != self.sequence {
                    continue;
                }
                match kind {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR if body.len() >= 4 => {
                        let error = i32::from_ne_bytes(bytes(body, 0));
                        return if error == 0 {
                            Ok(())
                        } else {
                            Err(io::Error::from_raw_os_error(-error))
                        };
                    }
                    _ => each(body),
                }
            }
        }
    }
}

/// Reads an `inet_diag_msg` with its attributes.
fn connection(body: &[u8]) -> Option<Connection> {
    if body.len() < MESSAGE {
        return None;
    }
    let family = body[0];
    let id: [u8; SOCKET_ID] = bytes(body, 4);
    let peer = match family {
        AF_INET => IpAddr::V4(Ipv4Addr::from(bytes::<4>(&id, 20))),
        AF_INET6 => {
            let peer = Ipv6Addr::from(bytes::<16>(&id, 20));
            peer.to_ipv4_mapped().map_or(IpAddr::V6(peer), IpAddr::V4)
        }
        _ => return None,
    };
    let cgroup_id =
        attribute(&body[MESSAGE..], INET_DIAG_CGROUP_ID).filter(|value| value.len() >= 8)?;
    Some(Connection {
        cgroup_id: u64::from_ne_bytes(bytes(cgroup_id, 0)),
        local_port: u16::from_be_bytes(bytes(&id, 0)),
        peer,
        peer_port: u16::from_be_bytes(bytes(&id, 2)),
        family,
        id,
    })
}

/// Reads an `inet_diag_msg` of a listening socket: its queue's length and limit are where a connection has its own queues' lengths.
fn listener(body: &[u8]) -> Option<Listener> {
    let connection = connection(body)?;
    let memory = attribute(&body[MESSAGE..], INET_DIAG_SKMEMINFO)
        .filter(|value| value.len() >= 4 * (MEMORY_DROPS + 1))?;
    Some(Listener {
        cgroup_id: connection.cgroup_id,
        cookie: connection.cookie(),
        port: connection.local_port,
        waiting: u32::from_ne_bytes(bytes(body, 56)),
        limit: u32::from_ne_bytes(bytes(body, 60)),
        drops: u32::from_ne_bytes(bytes(memory, 4 * MEMORY_DROPS)),
    })
}

fn attribute(mut rest: &[u8], wanted: u16) -> Option<&[u8]> {
    while rest.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes(bytes(rest, 0)));
        let kind = u16::from_ne_bytes(bytes(rest, 2));
        if length < 4 || length > rest.len() {
            return None;
        }
        if kind == wanted {
            return Some(&rest[4..length]);
        }
        rest = &rest[align(length).min(rest.len())..];
    }
    None
}

/// `N` bytes at a place. The caller has made sure that they are there; what is not reads as zeros.
fn bytes<const N: usize>(from: &[u8], at: usize) -> [u8; N] {
    from.get(at..at + N)
        .and_then(|bytes| bytes.try_into().ok())
        .unwrap_or([0; N])
}

fn align(length: usize) -> usize {
    length.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[test]
    fn a_message_that_is_cut_short_is_no_connection() {
        assert_eq!(connection(&[AF_INET; 20]), None);
        // An attribute that claims more than there is.
        let mut body = vec![0; MESSAGE];
        body[0] = AF_INET;
        body.extend([255, 0, 21, 0, 1, 2]);
        assert_eq!(connection(&body), None);
    }

    #[test]
    fn a_listener_tells_its_queue_and_what_it_threw_away() {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
        rustix::net::bind(&socket, &any).unwrap();
        rustix::net::listen(&socket, 1).unwrap();
        let address = TcpListener::from(socket);
        let port = address.local_addr().unwrap().port();
        let mut diag = SockDiag::open().unwrap();
        let mut look = || {
            let mut all = diag.listeners().unwrap().into_iter();
            all.find(|listener| listener.port == port).unwrap()
        };
        let empty = look();
        assert_eq!((empty.waiting, empty.limit, empty.drops), (0, 1, 0));
        let clients: Vec<_> = (0..2)
            .map(|_| TcpStream::connect(address.local_addr().unwrap()).unwrap())
            .collect();
        assert_eq!(look().waiting, 2);
        // The queue is full now: the kernel throws the next one's first packets away.
        let late =
            TcpStream::connect_timeout(&address.local_addr().unwrap(), Duration::from_millis(200));
        assert!(late.is_err(), "{late:?}");
        assert!(look().drops >= 1, "{:?}", look());
        drop(clients);
    }

    /// Destroying needs root; the test runs as root wherever the project is built.
    #[test]
    fn a_real_connection_is_found_by_its_cgroup_and_destroyed_once() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        for host in ["127.0.0.1", "[::1]"] {
            let Ok(listener) = TcpListener::bind(format!("{host}:0")) else {
                continue;
            };
            let port = listener.local_addr().unwrap().port();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            let mut diag = SockDiag::open().unwrap();
            let all = all(&mut diag);
            let of_server = all.iter().find(|one| one.local_port == port).unwrap();
            let of_client = all.iter().find(|one| one.peer_port == port).unwrap();
            assert!(of_server.peer.is_loopback());
            assert_ne!(of_server.cookie(), of_client.cookie());
            // Both sockets were made by this test, in one cgroup.
            assert_eq!(of_server.cgroup_id, of_client.cgroup_id);
            let mine = BTreeSet::from([of_server.cgroup_id]);
            assert!(diag.established(&mine).unwrap().contains(of_server));
            assert!(
                !diag
                    .established(&BTreeSet::from([u64::MAX]))
                    .unwrap()
                    .contains(of_server)
            );
            assert!(diag.destroy(of_server).unwrap());
            assert!(!diag.destroy(of_server).unwrap());
            let aborted = server.read(&mut [0]).unwrap_err();
            assert_eq!(aborted.kind(), io::ErrorKind::ConnectionAborted);
            let reset = client.read(&mut [0]).unwrap_err();
            assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
        }
    }

    /// Connections of every cgroup that there is on this machine.
    fn all(diag: &mut SockDiag) -> Vec<Connection> {
        let mut all = Vec::new();
        for family in [AF_INET, AF_INET6] {
            diag.send(
                SOCK_DIAG_BY_FAMILY,
                NLM_F_DUMP,
                family,
                ESTABLISHED,
                &[0; SOCKET_ID],
            )
            .unwrap();
            diag.receive(|body| all.extend(connection(body))).unwrap();
        }
        all
    }
}
