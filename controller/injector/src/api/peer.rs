//! Who is on the other end of a connection.

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use tokio::net::{UnixStream, unix::UCred};

/// A caller that may use the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The caller's user id, as the kernel saw it when the connection was made.
    pub(crate) uid: u32,
    /// The caller's process.
    pub(crate) pid: i32,
}

/// Lets root and the group's members in; the reason otherwise.
///
/// The socket's mode says the same. This holds where somebody changed the mode, or passed a connection on.
pub(crate) fn admit(stream: &UnixStream, group: &str) -> Result<Peer, String> {
    let credentials = stream
        .peer_cred()
        .map_err(|error| format!("cannot read the peer's credentials: {error}"))?;
    let peer = Peer {
        uid: credentials.uid(),
        pid: credentials.pid().unwrap_or(0),
    };
    if peer.uid == 0 || is_member(&credentials, group) {
        return Ok(peer);
    }
    Err(format!(
        "user {} is neither root nor in the group `{group}`; use sudo, or: usermod -aG {group} USER",
        peer.uid
    ))
}

fn is_member(credentials: &UCred, group: &str) -> bool {
    let Ok(Some(group)) = Group::from_name(group) else {
        return false;
    };
    if credentials.gid() == group.gid.as_raw() {
        return true;
    }
    let Ok(Some(user)) = User::from_uid(Uid::from_raw(credentials.uid())) else {
        return false;
    };
    let Ok(name) = std::ffi::CString::new(user.name) else {
        return false;
    };
    getgrouplist(&name, Gid::from_raw(credentials.gid()))
        .is_ok_and(|groups| groups.contains(&group.gid))
}
