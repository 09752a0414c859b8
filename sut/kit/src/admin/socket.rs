//! The admin socket: mode 0660, in the place of a dead one, removed at the end.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::http::{BindError, Listener};

/// Owner and group may use the socket; the group comes from its directory (setgid).
const MODE: u32 = 0o660;

/// A bound admin socket.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    file: SocketFile,
}

impl AdminSocket {
    pub(super) fn into_parts(self) -> (Listener, SocketFile) {
        (self.listener.into(), self.file)
    }
}

/// Removes the socket when dropped, unless it is another process's by now.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            // It is in the way of nobody: the next start replaces it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Makes the admin socket. Needs no runtime. A socket file that nobody serves any more is replaced.
///
/// # Errors
/// [`BindError::SocketInUse`], [`BindError::NotASocket`], or what else the system says.
pub fn bind(path: &Path) -> Result<AdminSocket, BindError> {
    let failed = |step: &'static str| {
        move |source| BindError::Socket {
            path: path.to_owned(),
            step,
            source,
        }
    };
    remove_dead(path)?;
    let listener = UnixListener::bind(path).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::SocketInUse {
            path: path.to_owned(),
        },
        _ => failed("make")(source),
    })?;
    std::fs::set_permissions(path, Permissions::from_mode(MODE))
        .map_err(failed("set the mode of"))?;
    let inode = std::fs::symlink_metadata(path)
        .map_err(failed("look at"))?
        .ino();
    listener.set_nonblocking(true).map_err(failed("set up"))?;
    Ok(AdminSocket {
        listener,
        file: SocketFile {
            path: path.to_owned(),
            inode,
        },
    })
}

fn remove_dead(path: &Path) -> Result<(), BindError> {
    let failed = |step: &'static str| {
        move |source| BindError::Socket {
            path: path.to_owned(),
            step,
            source,
        }
    };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed("look at")(source)),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(BindError::NotASocket {
                path: path.to_owned(),
            });
        }
        Ok(_) => {}
    }
    match probe(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(failed("remove the dead"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // Served, or so busy that it does not answer.
        Ok(()) => Err(BindError::SocketInUse {
            path: path.to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(BindError::SocketInUse {
            path: path.to_owned(),
        }),
        Err(source) => Err(failed("look at")(source)),
    }
}

/// Tries to connect, without waiting for a server that does not accept.
fn probe(path: &Path) -> io::Result<()> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    Ok(connect(&socket, &SocketAddrUnix::new(path)?)?)
}
