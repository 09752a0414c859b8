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

/// Whether the caller's primary group, its user's groups or its process's own supplementary groups are the one.
fn is_member(credentials: &UCred, group: &str) -> bool {
    let Ok(Some(group)) = Group::from_name(group) else {
        return false;
    };
    if credentials.gid() == group.gid.as_raw() {
        return true;
    }
    // A service may have the group from its unit (SupplementaryGroups=), which the user database doesn't know.
    if let Some(pid) = credentials.pid()
        && let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status"))
        && supplementary_groups(&status).any(|gid| gid == group.gid.as_raw())
    {
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

/// The group ids in a process's `/proc/PID/status` (proc_pid_status(5)).
fn supplementary_groups(status: &str) -> impl Iterator<Item = u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Groups:"));
    line.unwrap_or("")
        .split_whitespace()
        .filter_map(|gid| gid.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processs_own_groups_are_read() {
        let status = "Name:\tsh\nUid:\t0\t0\t0\t0\nGroups:\t4 27 989 \nNStgid:\t1\n";
        assert_eq!(
            supplementary_groups(status).collect::<Vec<_>>(),
            [4, 27, 989]
        );
        assert_eq!(supplementary_groups("Groups:\t \n").count(), 0);
        assert_eq!(supplementary_groups("").count(), 0);
    }
}
