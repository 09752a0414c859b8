//! One injector at a time, on one socket.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read, Seek, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    fs::FlockOperation,
    process::{Pid, PidfdFlags, Signal},
};

/// Why the socket could not be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstanceError {
    #[error(
        "another injector (pid {pid}) serves {socket}; stop it first: systemctl stop observastack-injector"
    )]
    Running { pid: String, socket: String },
    #[error("cannot use {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// The lock that a running injector holds; dropping it lets another start.
#[derive(Debug)]
pub(crate) struct Instance {
    _lock: File,
}

impl Instance {
    /// Takes the lock beside the socket, and removes a socket that a dead injector left.
    pub(crate) fn claim(socket: &Path) -> Result<Self, InstanceError> {
        let path = lock_path(socket);
        let io = |source| InstanceError::Io {
            path: path.clone(),
            source,
        };
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io)?;
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            let _ = lock.read_to_string(&mut pid);
            return Err(InstanceError::Running {
                pid: pid.trim().to_owned(),
                socket: socket.display().to_string(),
            });
        }
        lock.set_len(0).and_then(|()| lock.rewind()).map_err(io)?;
        writeln!(lock, "{}", std::process::id()).map_err(io)?;
        match fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(InstanceError::Io {
                path: socket.to_owned(),
                source: error,
            }),
            _ => Ok(Self { _lock: lock }),
        }
    }
}

/// Kills the injector that holds this lock, and gives its pid; `None` where nobody holds it, or the holder is no injector.
pub(crate) fn kill_holder(lock: &Path) -> io::Result<Option<i32>> {
    let mut file = match File::open(lock) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
        return Ok(None);
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let Some(pid) = text.trim().parse().ok().and_then(Pid::from_raw) else {
        return Ok(None);
    };
    // The descriptor first: from then on the number cannot become another process's between the look and the kill.
    let process = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if !crate::host::guard::is_injector(pid.as_raw_nonzero().get()) {
        return Ok(None);
    }
    match rustix::process::pidfd_send_signal(&process, Signal::KILL) {
        Ok(()) => {}
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    // Its locks and its programs in the kernel are gone when it is.
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end
        && rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).is_err()
    {
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(Some(pid.as_raw_nonzero().get()))
}

/// Where the lock of the injector on this socket is.
pub(crate) fn lock_path(socket: &Path) -> PathBuf {
    socket.with_extension("lock")
}

/// Lets root and the group's members connect. Without the group, root only: false.
pub(crate) fn open_to_group(socket: &Path, group: &str) -> io::Result<bool> {
    let found = nix::unistd::Group::from_name(group).ok().flatten();
    if let Some(group) = &found {
        std::os::unix::fs::chown(socket, Some(0), Some(group.gid.as_raw()))?;
    }
    fs::set_permissions(
        socket,
        Permissions::from_mode(if found.is_some() { 0o660 } else { 0o600 }),
    )?;
    Ok(found.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_injector_is_told_of_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("injector.sock");
        let first = Instance::claim(&socket).unwrap();
        let error = Instance::claim(&socket).unwrap_err().to_string();
        assert!(
            error.contains(&format!("pid {}", std::process::id()))
                && error.contains("systemctl stop"),
            "{error}"
        );
        drop(first);
        Instance::claim(&socket).unwrap();
    }

    #[test]
    fn what_a_dead_injector_left_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("injector.sock");
        fs::write(&socket, "").unwrap();
        let _instance = Instance::claim(&socket).unwrap();
        assert!(!socket.exists());
    }

    #[test]
    fn only_an_injector_that_holds_the_lock_is_killed() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("injector.sock");
        assert_eq!(kill_holder(&lock_path(&socket)).unwrap(), None);
        // This process holds it, and is no injector.
        let instance = Instance::claim(&socket).unwrap();
        assert_eq!(kill_holder(&lock_path(&socket)).unwrap(), None);
        drop(instance);
        assert_eq!(kill_holder(&lock_path(&socket)).unwrap(), None);
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = Instance::claim(Path::new("/nonexistent/injector.sock"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("/nonexistent/injector.lock"), "{error}");
    }
}
