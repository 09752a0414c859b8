//! Error numbers by name.

use std::{fmt, str::FromStr};

use crate::ValueError;

macro_rules! errnos {
    ($($name:ident)*) => {
        /// Every name that Linux has for an error number on this machine's architecture (errno(3)).
        const ALL: &[(&str, i32)] = &[$((stringify!($name), libc::$name)),*];
    };
}

errnos! {
    EPERM
    ENOENT
    ESRCH
    EINTR
    EIO
    ENXIO
    E2BIG
    ENOEXEC
    EBADF
    ECHILD
    EAGAIN
    ENOMEM
    EACCES
    EFAULT
    ENOTBLK
    EBUSY
    EEXIST
    EXDEV
    ENODEV
    ENOTDIR
    EISDIR
    EINVAL
    ENFILE
    EMFILE
    ENOTTY
    ETXTBSY
    EFBIG
    ENOSPC
    ESPIPE
    EROFS
    EMLINK
    EPIPE
    EDOM
    ERANGE
    EDEADLOCK
    ENAMETOOLONG
    ENOLCK
    ENOSYS
    ENOTEMPTY
    ELOOP
    ENOMSG
    EIDRM
    ECHRNG
    EL2NSYNC
    EL3HLT
    EL3RST
    ELNRNG
    EUNATCH
    ENOCSI
    EL2HLT
    EBADE
    EBADR
    EXFULL
    ENOANO
    EBADRQC
    EBADSLT
    EBFONT
    ENOSTR
    ENODATA
    ETIME
    ENOSR
    ENONET
    ENOPKG
    EREMOTE
    ENOLINK
    EADV
    ESRMNT
    ECOMM
    EPROTO
    EMULTIHOP
    EDOTDOT
    EBADMSG
    EOVERFLOW
    ENOTUNIQ
    EBADFD
    EREMCHG
    ELIBACC
    ELIBBAD
    ELIBSCN
    ELIBMAX
    ELIBEXEC
    EILSEQ
    ERESTART
    ESTRPIPE
    EUSERS
    ENOTSOCK
    EDESTADDRREQ
    EMSGSIZE
    EPROTOTYPE
    ENOPROTOOPT
    EPROTONOSUPPORT
    ESOCKTNOSUPPORT
    EPFNOSUPPORT
    EAFNOSUPPORT
    EADDRINUSE
    EADDRNOTAVAIL
    ENETDOWN
    ENETUNREACH
    ENETRESET
    ECONNABORTED
    ECONNRESET
    ENOBUFS
    EISCONN
    ENOTCONN
    ESHUTDOWN
    ETOOMANYREFS
    ETIMEDOUT
    ECONNREFUSED
    EHOSTDOWN
    EHOSTUNREACH
    EALREADY
    EINPROGRESS
    ESTALE
    EUCLEAN
    ENOTNAM
    ENAVAIL
    EISNAM
    EREMOTEIO
    EDQUOT
    ENOMEDIUM
    EMEDIUMTYPE
    ECANCELED
    ENOKEY
    EKEYEXPIRED
    EKEYREVOKED
    EKEYREJECTED
    EOWNERDEAD
    ENOTRECOVERABLE
    ERFKILL
}

const ALLOWED: &str = "the name of a Linux error, such as ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, EADDRNOTAVAIL or EACCES";

/// An error's number, positive; written by its name in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Errno(i32);

impl Errno {
    /// The number, positive.
    pub fn number(self) -> i32 {
        self.0
    }

    /// The name.
    pub fn name(self) -> &'static str {
        let found = ALL.iter().find(|(_, known)| *known == self.0);
        found.map_or("EIO", |(name, _)| name)
    }
}

impl FromStr for Errno {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wanted = text.trim().to_ascii_uppercase();
        let found = ALL.iter().find(|(known, _)| *known == wanted);
        found
            .map(|(_, number)| Self(*number))
            .ok_or_else(|| ValueError::new(text, ALLOWED))
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

text_in_json!(Errno);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case() {
        assert_eq!("ECONNREFUSED".parse::<Errno>().unwrap().number(), 111);
        assert_eq!("etimedout".parse::<Errno>().unwrap().number(), 110);
        assert_eq!(
            "econnrefused".parse::<Errno>().unwrap().to_string(),
            "ECONNREFUSED"
        );
    }

    #[test]
    fn every_name_reads_back() {
        for (name, number) in ALL {
            let errno: Errno = name.parse().unwrap();
            assert_eq!((errno.number(), errno.name()), (*number, *name));
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_examples() {
        for name in ["EWHATEVER", "", "111", "-111"] {
            let error = name.parse::<Errno>().unwrap_err();
            assert_eq!(error.value, name);
            assert!(error.allowed.contains("ECONNREFUSED"));
        }
    }
}
