//! The Unix socket on which a service of the lab answers its operators.

use std::{fs::Permissions, io, os::unix::fs::PermissionsExt as _, path::Path};

use tokio::net::{UnixListener, UnixStream};

/// Why a socket could not be listened at.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody answers there.
    #[error("{0}: another one is listening there")]
    Taken(String),
    /// The file system refuses it.
    #[error("cannot {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The socket.
        path: String,
        /// The reason.
        source: io::Error,
    },
}

/// Listens there, for the socket's owner and its group; a socket that nobody listens at is a leftover.
///
/// # Errors
/// Another one is listening there, or the file system refuses it.
pub async fn listen(path: &Path) -> Result<UnixListener, SocketError> {
    let name = || path.display().to_string();
    let failed = |what| {
        move |source| SocketError::Io {
            what,
            path: path.display().to_string(),
            source,
        }
    };
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if UnixStream::connect(path).await.is_ok() {
                return Err(SocketError::Taken(name()));
            }
            std::fs::remove_file(path).map_err(failed("remove"))?;
            UnixListener::bind(path)
        }
        bound => bound,
    };
    let listener = listener.map_err(failed("listen at"))?;
    std::fs::set_permissions(path, Permissions::from_mode(0o660))
        .map_err(failed("set the mode of"))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_leftover_is_replaced_and_a_listener_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let first = listen(&path).await.unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        let error = listen(&path).await.unwrap_err().to_string();
        assert!(error.contains("another one is listening"), "{error}");
        drop(first);
        listen(&path).await.unwrap();
        let missing = listen(Path::new("/nonexistent/a.sock")).await.unwrap_err();
        assert_eq!(missing.to_string(), "cannot listen at /nonexistent/a.sock");
    }
}
