use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use streampipe_sys::spawn::{Group, Identity, Limit};

use super::inheritable::Inheritable;
use super::source::Source;
use super::{Resource, Stdio};
use crate::{Builder, Engine, FdPolicy, FdRule, Wait};

/// The number of the child's end, if no other is chosen.
const DEFAULT_FD: i32 = 3;

/// A program to be started with the other end of a stream pipe in its hand.
///
/// The methods that `std::process::Command` has do what they do there, except that `output` does not wait
/// for processes that the program leaves behind. Besides:
///
/// - **The child holds exactly what was asked for**: standard input, output and error, its end (as
///   descriptor 3, or where [`fd`](Self::fd) or [`on_stdio`](Self::on_stdio) puts it), and what it
///   [inherits](Self::inherit). Everything else is closed there, descriptors without close-on-exec
///   included. Any number may be chosen: none is reserved.
/// - **`Ok` means that it runs**: `exec` has succeeded, unless somebody killed the child in the very middle
///   of it, which its status says. After an error there is no child, no zombie, and no new descriptor, and
///   the [`SpawnError`](super::SpawnError) names the step and the number.
/// - **It costs what `posix_spawn` costs**, however much memory this process has: the child borrows it
///   until `exec` (`CLONE_VM | CLONE_VFORK`). So there is no `pre_exec`: what is to be done in
///   between is said as data.
/// - Its signal mask is empty, and `SIGPIPE`, which Rust programs ignore, is at its default action.
/// - This process's copy of the child's end is closed before `spawn` returns.
///
/// The child finds its end by [`inherited`](crate::inherited), or, without this library, by its number.
///
/// # Examples
///
/// ```
/// use std::io::{BufRead, BufReader, Write};
///
/// let mut child = streampipe::Command::new("sh")
///     .args(["-c", r#"read job <&3; echo "done: $job" >&3"#])
///     .spawn()?;
/// child.stream().write_all(b"sweep\n")?;
/// let mut answer = String::new();
/// BufReader::new(child.stream()).read_line(&mut answer)?;
/// assert_eq!(answer, "done: sweep\n");
/// assert!(child.wait()?.success());
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "posix_spawn")]
#[doc(alias = "vfork")]
pub struct Command {
    pub(super) program: OsString,
    pub(super) arg0: Option<OsString>,
    pub(super) args: Vec<OsString>,
    pub(super) clears_environment: bool,
    /// What is set, or removed; applied after the clearing.
    pub(super) variables: BTreeMap<OsString, Option<OsString>>,
    pub(super) directory: Option<PathBuf>,
    pub(super) stdio: [Option<Stdio>; 3],
    pub(super) place: Place,
    pub(super) pair: Builder,
    pub(super) inherited: Vec<(Source, i32)>,
    pub(super) listen_names: Option<Vec<String>>,
    pub(super) group: Group,
    pub(super) identity: Identity,
    pub(super) limits: Vec<Limit>,
    pub(super) death_signal: Option<i32>,
    pub(super) no_new_privileges: bool,
    pub(super) refuses_fds: bool,
    /// Which descriptors are taken from the child, whether it is trusted or not.
    pub(super) accepted_fds: Option<FdPolicy>,
    pub(super) timeout: Option<Duration>,
    pub(super) attests: bool,
}

/// Where the child has its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// One socket, under this number.
    Fd(i32),
    /// Two pipes, as standard input and output.
    Pipes,
    /// One socket, as standard input and output.
    SocketOnStdio,
}

impl Place {
    /// Whether it is the descriptor of this number.
    pub(super) fn takes(self, number: i32) -> bool {
        match self {
            Self::Fd(at) => at == number,
            Self::Pipes | Self::SocketOnStdio => number == 0 || number == 1,
        }
    }
}

impl Command {
    /// How long a call on our end of an [untrusted](Self::untrusted) child may take at first: 30 seconds.
    pub const UNTRUSTED_TIMEOUT: Duration = Duration::from_secs(30);

    /// Describes a program: a path, or a name that is looked for in the `PATH` the child will have.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_os_string(),
            arg0: None,
            args: Vec::new(),
            clears_environment: false,
            variables: BTreeMap::new(),
            directory: None,
            stdio: [None, None, None],
            place: Place::Fd(DEFAULT_FD),
            pair: Builder::new(),
            inherited: Vec::new(),
            listen_names: None,
            group: Group::default(),
            identity: Identity::default(),
            limits: Vec::new(),
            death_signal: None,
            no_new_privileges: false,
            refuses_fds: false,
            accepted_fds: None,
            timeout: None,
            attests: false,
        }
    }

    // --- as in std ---

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.args.push(arg.as_ref().to_os_string());
        self
    }

    /// Adds several arguments.
    pub fn args(&mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_os_string()));
        self
    }

    /// Sets what the program sees as its own name.
    pub fn arg0(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.arg0 = Some(name.as_ref().to_os_string());
        self
    }

    /// Sets a variable of the program's environment.
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        let value = value.as_ref().to_os_string();
        self.variables.insert(key.as_ref().to_os_string(), Some(value));
        self
    }

    /// Sets several variables of the program's environment.
    pub fn envs<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        &mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> &mut Self {
        for (key, value) in variables {
            self.env(key, value);
        }
        self
    }

    /// Keeps a variable from the program.
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Self {
        self.variables.insert(key.as_ref().to_os_string(), None);
        self
    }

    /// Starts from an empty environment; variables set before are forgotten.
    ///
    /// The one that leads the program to its end is there all the same.
    pub fn env_clear(&mut self) -> &mut Self {
        self.clears_environment = true;
        self.variables.clear();
        self
    }

    /// Sets the program's working directory.
    ///
    /// A program given as a relative path is looked for from there.
    pub fn current_dir(&mut self, directory: impl AsRef<Path>) -> &mut Self {
        self.directory = Some(directory.as_ref().to_path_buf());
        self
    }

    /// Sets standard input; at first the parent's own ([`output`](Self::output): `/dev/null`).
    pub fn stdin(&mut self, stdin: impl Into<Stdio>) -> &mut Self {
        self.stdio[0] = Some(stdin.into());
        self
    }

    /// Sets standard output; at first the parent's own ([`output`](Self::output): a pipe).
    pub fn stdout(&mut self, stdout: impl Into<Stdio>) -> &mut Self {
        self.stdio[1] = Some(stdout.into());
        self
    }

    /// Sets standard error; at first the parent's own ([`output`](Self::output): a pipe).
    pub fn stderr(&mut self, stderr: impl Into<Stdio>) -> &mut Self {
        self.stdio[2] = Some(stderr.into());
        self
    }

    // --- descriptors ---

    /// Gives the child its end under this number, instead of 3.
    ///
    /// Any number below the limit of open files will do; 0, 1 and 2 take the place of standard input,
    /// output and error.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Read;
    ///
    /// let mut child = streampipe::Command::new("sh").args(["-c", "echo here >&7"]).fd(7).spawn()?;
    /// let mut text = String::new();
    /// child.stream().read_to_string(&mut text)?;
    /// assert_eq!(text, "here\n");
    /// # child.wait()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn fd(&mut self, number: i32) -> &mut Self {
        self.place = Place::Fd(number);
        self
    }

    /// Gives the child its end as standard input and output, by two one-way pipes.
    ///
    /// For programs that know nothing of stream pipes: when one closes its standard output, we read the
    /// end, and [`shutdown`](crate::Stream::shutdown)`(Write)` is the end of its input. Such an end
    /// carries no descriptors, `AsFd` gives the reading pipe, `OwnedFd::from` gives it alone, and reading
    /// that is shut down discards what is queued, and is over for that handle, not its clones. The child
    /// finds no end by [`inherited`](crate::inherited()).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::net::Shutdown;
    ///
    /// let mut sort = streampipe::Command::new("sort").on_stdio().spawn()?;
    /// sort.stream().write_all(b"b\na\n")?;
    /// sort.stream().shutdown(Shutdown::Write)?;
    /// let mut sorted = String::new();
    /// sort.stream().read_to_string(&mut sorted)?;
    /// assert_eq!(sorted, "a\nb\n");
    /// # sort.wait()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn on_stdio(&mut self) -> &mut Self {
        self.place = Place::Pipes;
        self
    }

    /// Gives the child its end as standard input and output, by one socket.
    ///
    /// For programs that expect a socket there, as inetd's do. A program that closes one of the two
    /// closes nothing: the end comes when both are closed.
    pub fn on_stdio_socket(&mut self) -> &mut Self {
        self.place = Place::SocketOnStdio;
        self
    }

    /// Lets the child inherit a descriptor, under this number.
    ///
    /// What is given by value goes to one program; what is given by reference is duplicated at once, for
    /// every program this command starts. See [`Inheritable`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::fs::File;
    ///
    /// let file = File::open("/proc/version")?;
    /// let output = streampipe::Command::new("sh")
    ///     .args(["-c", "cat <&9"])
    ///     .inherit(file, 9)
    ///     .output()?;
    /// assert!(output.stdout.starts_with(b"Linux"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn inherit(&mut self, fd: impl Inheritable, number: i32) -> &mut Self {
        self.inherited.push((fd.into_source(), number));
        self
    }

    /// Announces descriptors 3, 4, ... to the child, with these names, as systemd does.
    ///
    /// Sets `LISTEN_FDS` to how many there are, `LISTEN_FDNAMES`, and `LISTEN_PID` to the child's own
    /// process id (`sd_listen_fds(3)`). Each of the numbers must be that of its end or of what it
    /// [inherits](Self::inherit), else `spawn` fails.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::net::TcpListener;
    ///
    /// // A service that knows nothing but systemd's way: its end is out of the way.
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let output = streampipe::Command::new("sh")
    ///     .args(["-c", r#"test $LISTEN_PID = $$ && echo $LISTEN_FDS $LISTEN_FDNAMES"#])
    ///     .inherit(listener, 3)
    ///     .fd(4)
    ///     .listen_fds(["http"])
    ///     .output()?;
    /// assert_eq!(output.stdout, b"1 http\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "sd_listen_fds")]
    pub fn listen_fds(&mut self, names: impl IntoIterator<Item = impl AsRef<str>>) -> &mut Self {
        self.listen_names = Some(names.into_iter().map(|name| name.as_ref().to_owned()).collect());
        self
    }

    // --- the process ---

    /// Puts the child into this process group; 0 for a new one that it leads.
    ///
    /// [`Child::stop_group`](crate::Child::stop_group) and its siblings reach all of a group that the child
    /// leads. ^C at the terminal does not reach it.
    #[doc(alias = "setpgid")]
    pub fn process_group(&mut self, group: i32) -> &mut Self {
        self.group = Group::Of(group);
        self
    }

    /// Makes the child the leader of a new session, and so of a new process group, without a terminal.
    #[doc(alias = "setsid")]
    pub fn session(&mut self) -> &mut Self {
        self.group = Group::NewSession;
        self
    }

    /// Sets the child's user: real, effective and saved.
    ///
    /// Until the child has its program, all processes of that user can signal it. A child that they keep stopped is
    /// killed after about 5 seconds, and the start is `TimedOut`; without the right to kill it (`CAP_KILL`), this process
    /// lets it go on. This process may not be dumped or traced meanwhile, and, where the kernel does not say that the child
    /// has left its memory (`kcmp(2)`), from then on.
    ///
    /// The child looks for the program with that user's rights.
    ///
    /// The child gives up this process's supplementary groups, unless [`groups`](Self::groups) sets others. Where
    /// the kernel does not permit that (`setgroups`, `EPERM`), the child keeps them, as in std.
    ///
    /// With a user other than root, the child also gives up its ambient capabilities (`capabilities(7)`), with which it
    /// could take any identity again. Std lets it keep them. If a filter refuses that (`prctl`), and the child has any
    /// capability left, the start fails.
    #[doc(alias = "setuid")]
    pub fn uid(&mut self, user: u32) -> &mut Self {
        self.identity.uid = Some(user);
        self
    }

    /// Sets the child's group: real, effective and saved.
    #[doc(alias = "setgid")]
    pub fn gid(&mut self, group: u32) -> &mut Self {
        self.identity.gid = Some(group);
        self
    }

    /// Sets the child's supplementary groups.
    #[doc(alias = "setgroups")]
    pub fn groups(&mut self, groups: &[u32]) -> &mut Self {
        self.identity.set_groups(groups.iter().copied());
        self
    }

    /// Limits a resource of the child; `None` is no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use streampipe::Resource;
    ///
    /// let output = streampipe::Command::new("sh")
    ///     .args(["-c", "ulimit -n"])
    ///     .rlimit(Resource::OpenFiles, Some(32), Some(64))
    ///     .output()?;
    /// assert_eq!(output.stdout, b"32\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "setrlimit")]
    pub fn rlimit(&mut self, what: Resource, soft: Option<u64>, hard: Option<u64>) -> &mut Self {
        self.limits.push(Limit { resource: what.as_sys(), soft, hard });
        self
    }

    /// Asks the kernel to send the child this signal when the thread that calls `spawn` ends.
    ///
    /// **Of the thread, not of the process** (`prctl(2)`, `PR_SET_PDEATHSIG`): a child spawned from a
    /// short-lived thread of a pool is killed while its parent lives. It is also lost when the child
    /// executes a set-uid program, and its own children do not get it. The better lifeline is the pipe: it
    /// ends when this process dies, by whatever cause and from whatever thread, and the child reads the
    /// end. Use the signal for programs that do not read, from a thread that lives as long as the process.
    ///
    /// A parent that dies before the signal is armed makes the start fail in the child.
    #[doc(alias = "PR_SET_PDEATHSIG")]
    pub fn parent_death_signal(&mut self, number: i32) -> &mut Self {
        self.death_signal = Some(number);
        self
    }

    /// Keeps every program that the child executes from gaining rights (`PR_SET_NO_NEW_PRIVS`).
    #[doc(alias = "PR_SET_NO_NEW_PRIVS")]
    pub fn no_new_privileges(&mut self) -> &mut Self {
        self.no_new_privileges = true;
        self
    }

    /// Says that the child is not to be trusted.
    ///
    /// Its descriptors are refused from before it starts ([`Stream::refuse_fds`](crate::Stream::refuse_fds)), but for those
    /// that [`accept`](Self::accept) names, every call on our end has a deadline ([`UNTRUSTED_TIMEOUT`](Self::UNTRUSTED_TIMEOUT), which
    /// [`set_read_timeout`](crate::Stream::set_read_timeout) and its sibling change), a channel over it takes little ([`Budget::small`](crate::Budget::small)) and sends it neither
    /// directories nor devices ([`FdPolicy::untrusted_peer`](crate::FdPolicy::untrusted_peer)), and it cannot gain
    /// rights by `exec`.
    ///
    /// What remains is the caller's: another user ([`uid`](Self::uid)), limits
    /// ([`rlimit`](Self::rlimit)), namespaces and filters; a child of the same user can trace this process
    /// unless the system forbids it. `SECURITY.md` has the list.
    pub fn untrusted(&mut self) -> &mut Self {
        self.refuses_fds = true;
        self.no_new_privileges = true;
        self.timeout = Some(Self::UNTRUSTED_TIMEOUT);
        self
    }

    /// Takes such descriptors from the child, and no others; said again, such descriptors, too.
    ///
    /// What an [untrusted](Self::untrusted) child may return: the sealed memory of a decoder, for example. Without this, an
    /// untrusted child may return none, and any other child whatever it likes.
    ///
    /// A receive that meets another descriptor closes it, with all that came together with it, and says which it was and
    /// what it is: [`recv_fds`](crate::Stream::recv_fds) by an error with a [`WrongFd`](crate::WrongFd) inside, after which
    /// the bytes can be read; a channel, whose [policy](crate::RawChannel::set_policy) this is to begin with, by
    /// [`RecvError::WrongFd`](crate::RecvError::WrongFd) in the message's place.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// // Not run: it needs a decoder.
    /// use streampipe::{Command, FdRule, Seals};
    ///
    /// let mut child = Command::new("decoder")
    ///     .untrusted()
    ///     .accept(FdRule::memfd().sealed(Seals::SHRINK | Seals::WRITE))
    ///     .spawn()?;
    /// // The pixels, which nobody changes any more; whatever else comes is an error.
    /// let (_, fds) = child.stream().recv_fds(&mut [0; 64])?;
    /// # drop(fds);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn accept(&mut self, rule: FdRule) -> &mut Self {
        let policy = self.accepted_fds.take().unwrap_or_default();
        self.accepted_fds = Some(policy.accept(rule));
        self
    }

    /// What carries the bytes between this process and the child.
    ///
    /// With [`Engine::Ring`], the child must be a program of this library, which calls [`inherited`](crate::inherited):
    /// that does the rest. The memory goes to it over its end, and this process keeps no descriptor of it. The end cannot
    /// be on standard input or output then.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// // Not run: it needs a program of this library.
    /// use std::io::{Read, Write};
    ///
    /// let mut worker = streampipe::Command::new("worker");
    /// let mut child = worker.engine(streampipe::Engine::Ring).capacity(1 << 20).spawn()?;
    /// child.stream().write_all(b"job")?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn engine(&mut self, engine: Engine) -> &mut Self {
        self.pair = self.pair.engine(engine);
        self
    }

    /// How many bytes each direction of a ring holds, as [`Builder::capacity`].
    pub fn capacity(&mut self, bytes: usize) -> &mut Self {
        self.pair = self.pair.capacity(bytes);
        self
    }

    /// How our end of a ring waits, as [`Builder::wait`]; the child decides for its own.
    pub fn wait_policy(&mut self, wait: Wait) -> &mut Self {
        self.pair = self.pair.wait(wait);
        self
    }

    /// Has the kernel attest who sends on the child's end, for [`Stream::recv_hello`](crate::Stream::recv_hello).
    ///
    /// From before the child starts, so that its first word is attested, too.
    #[doc(alias = "SO_PASSCRED")]
    pub fn expect_hello(&mut self) -> &mut Self {
        self.attests = true;
        self
    }
}
