//! Values that are one of a few words.

/// An enum whose variants are words.
macro_rules! choice {
    ($(#[$outer:meta])* $name:ident { $($(#[$inner:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$inner])* $variant,)*
        }

        impl $name {
            /// Every choice, in the order in which help shows them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word for it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.pad(self.name())
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::ValueError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let found = Self::ALL.iter().find(|choice| choice.name() == text);
                found.copied().ok_or_else(|| {
                    let names: Vec<_> = Self::ALL.iter().map(|choice| choice.name()).collect();
                    crate::ValueError::new(text, format!("one of {}", names.join(", ")))
                })
            }
        }

        text_in_json!($name);
    };
}

choice! {
    /// Which way packets go, seen from the unit.
    Direction {
        /// Towards the unit.
        In = "in",
        /// Away from the unit.
        Out = "out",
        /// Either way.
        Both = "both",
    }
}

choice! {
    /// A transport protocol.
    Protocol {
        /// TCP.
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
    }
}

choice! {
    /// How delays spread between `delay - jitter` and `delay + jitter`.
    Distribution {
        /// Every delay is as likely as every other.
        Uniform = "uniform",
        /// Most are near the middle.
        Normal = "normal",
        /// Most are short, a few long.
        Pareto = "pareto",
    }
}

choice! {
    /// A kind of system call, as the kernel's security hooks see it.
    Call {
        /// open(2) and its relatives.
        Open = "open",
        /// read(2) and its relatives, on files.
        Read = "read",
        /// write(2) and its relatives, on files.
        Write = "write",
        /// mmap(2) of a file.
        Mmap = "mmap",
        /// socket(2).
        Socket = "socket",
        /// connect(2).
        Connect = "connect",
        /// accept(2).
        Accept = "accept",
        /// listen(2).
        Listen = "listen",
        /// send(2) and its relatives, write(2) on sockets.
        Send = "send",
        /// recv(2) and its relatives, read(2) on sockets.
        Receive = "receive",
        /// clone(2), fork(2), and new threads.
        Clone = "clone",
        /// execve(2).
        Exec = "exec",
        /// unlink(2) and rmdir(2).
        Unlink = "unlink",
        /// rename(2).
        Rename = "rename",
        /// mkdir(2).
        Mkdir = "mkdir",
        /// stat(2) and its relatives.
        Stat = "stat",
    }
}

impl Call {
    /// Whether it has a file: a path or a file system can be asked of it.
    pub fn is_on_files(self) -> bool {
        matches!(
            self,
            Self::Open
                | Self::Read
                | Self::Write
                | Self::Mmap
                | Self::Exec
                | Self::Unlink
                | Self::Rename
                | Self::Mkdir
                | Self::Stat
        )
    }

    /// Whether it has a file descriptor or opens one, so that a kind of file can be asked of it.
    pub fn has_file_kind(self) -> bool {
        matches!(
            self,
            Self::Open | Self::Read | Self::Write | Self::Mmap | Self::Stat
        )
    }

    /// Whether it has a socket.
    pub fn is_on_sockets(self) -> bool {
        matches!(
            self,
            Self::Socket | Self::Connect | Self::Accept | Self::Listen | Self::Send | Self::Receive
        )
    }
}

choice! {
    /// What is behind a file descriptor.
    FileKind {
        /// A regular file.
        Regular = "regular",
        /// A directory.
        Directory = "directory",
        /// A pipe or FIFO.
        Pipe = "pipe",
        /// A socket.
        Socket = "socket",
        /// A character device, such as a terminal.
        CharDevice = "char-device",
        /// A block device.
        BlockDevice = "block-device",
        /// Whatever it is.
        Any = "any",
    }
}

choice! {
    /// A family of sockets.
    SocketFamily {
        /// IPv4 and IPv6.
        Inet = "inet",
        /// Unix sockets.
        Unix = "unix",
        /// Every family.
        Any = "any",
    }
}

choice! {
    /// What to do with a unit.
    UnitAction {
        /// A signal to all its processes.
        Kill = "kill",
        /// Stop it, and start it again when the fault ends.
        Stop = "stop",
        /// Restart it.
        Restart = "restart",
    }
}
