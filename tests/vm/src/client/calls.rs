//! System calls of a client, one at a time, on objects that were made before.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, PipeReader, PipeWriter, Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    os::unix::{fs::FileExt, net::UnixDatagram},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};

use super::NOTHING;
use crate::agent::THIS_PROGRAM;

/// More than what glibc keeps of ended threads' stacks (40 MiB), so that each thread maps its own.
const STACK: usize = 64 << 20;

/// What calls are made on. A call that is refused leaves it as it was.
pub(super) struct Calls {
    folder: PathBuf,
    /// Names that were given out.
    names: u64,
    file: File,
    proc_file: File,
    pipe: (PipeReader, PipeWriter),
    unix: (UnixDatagram, UnixDatagram),
    udp: UdpSocket,
    udp_address: SocketAddr,
    listener: std::net::TcpListener,
    /// Connections that wait to be accepted.
    waiting: Vec<TcpStream>,
}

impl Calls {
    /// Makes everything, in a folder of its own.
    pub(super) fn prepare(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join("file");
        fs::write(&path, "data")?;
        let udp = UdpSocket::bind("127.0.0.1:0")?;
        udp.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self {
            folder: folder.to_owned(),
            names: 0,
            file: OpenOptions::new().read(true).write(true).open(path)?,
            proc_file: File::open("/proc/self/stat")?,
            pipe: io::pipe()?,
            unix: UnixDatagram::pair()?,
            udp_address: udp.local_addr()?,
            udp,
            listener: std::net::TcpListener::bind("127.0.0.1:0")?,
            waiting: Vec::new(),
        })
    }

    /// Makes one call: 0 or the errno.
    pub(super) fn once(&mut self, name: &str) -> Result<i32> {
        match self.call(name)? {
            Ok(()) => Ok(0),
            Err(error) => error
                .raw_os_error()
                .with_context(|| format!("{name}: an error without errno: {error}")),
        }
    }

    /// The outer result is about what the call needs, the inner one about the call.
    fn call(&mut self, name: &str) -> Result<io::Result<()>> {
        let mut byte = [0];
        Ok(match name {
            "open" => File::open(self.folder.join("file")).map(drop),
            "open-folder" => File::open(&self.folder).map(drop),
            "read" => self.file.read_at(&mut byte, 0).map(drop),
            "read-proc" => self.proc_file.read_at(&mut byte, 0).map(drop),
            "read-pipe" => {
                self.pipe.1.write_all(&byte)?;
                self.pipe.0.read(&mut byte).map(drop)
            }
            "write" => self.file.write_at(b"d", 0).map(drop),
            "mmap" => thread(STACK),
            "socket" => Socket::new(Domain::IPV4, Type::DGRAM, None).map(drop),
            "socket-unix" => Socket::new(Domain::UNIX, Type::DGRAM, None).map(drop),
            "connect" => {
                let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
                socket.connect(&self.udp_address.into())
            }
            "accept" => {
                self.waiting
                    .push(TcpStream::connect(self.listener.local_addr()?)?);
                self.listener.accept().map(drop)
            }
            "listen" => {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
                socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
                socket.listen(1)
            }
            "send" => self.udp.send_to(&byte, self.udp_address).map(drop),
            "send-unix" => self.unix.0.send(&byte).map(drop),
            "receive" => {
                self.udp.send_to(&byte, self.udp_address)?;
                self.udp.recv(&mut byte).map(drop)
            }
            "receive-unix" => {
                self.unix.0.send(&byte)?;
                self.unix.1.recv(&mut byte).map(drop)
            }
            // Where stacks are kept, only the first of these maps one.
            "clone" => thread(256 << 10),
            "exec" => Command::new(THIS_PROGRAM).arg(NOTHING).status().map(drop),
            "unlink" => {
                let path = self.name();
                fs::write(&path, "")?;
                fs::remove_file(path)
            }
            "rename" => {
                let (from, to) = (self.name(), self.name());
                fs::write(&from, "")?;
                fs::rename(from, to)
            }
            "mkdir" => fs::create_dir(self.name()),
            "stat" => fs::metadata(self.folder.join("file")).map(drop),
            _ => anyhow::bail!("a client doesn't know the call `{name}`"),
        })
    }

    /// A path that wasn't there before.
    fn name(&mut self) -> PathBuf {
        self.names += 1;
        self.folder.join(format!("name-{}", self.names))
    }
}

/// A thread that ends at once.
fn thread(stack: usize) -> io::Result<()> {
    let thread = thread::Builder::new().stack_size(stack).spawn(|| {})?;
    thread
        .join()
        .map_err(|_| io::Error::other("a thread panicked"))
}

/// `getppid(2)` so many times; before each, a byte is added to a file, which tells how far a killed client came.
pub(super) fn getppid(log: &Path, times: u32) -> Result<()> {
    let mut log = OpenOptions::new().create(true).append(true).open(log)?;
    for _ in 0..times {
        log.write_all(b".")?;
        std::hint::black_box(rustix::process::getppid());
    }
    Ok(())
}

/// `getppid(2)` for so long, as fast as it goes; how often that was.
pub(super) fn hammer(length: Duration) -> u64 {
    let end = Instant::now() + length;
    let mut times = 0;
    while Instant::now() < end {
        for _ in 0..1000 {
            std::hint::black_box(rustix::process::getppid());
        }
        times += 1000;
    }
    times
}
