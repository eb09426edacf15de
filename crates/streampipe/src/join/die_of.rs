use streampipe_sys::job;

/// Ends this process by the default action of this signal, without a core dump: what started it, a shell's
/// loop for example, learns that the signal killed it.
///
/// For a process whose whole job was a join: [`Outcome`](super::Outcome) names the signal. Returns if the
/// signal does not end the process: the first process of a PID namespace has no default actions.
#[doc(alias = "raise")]
pub fn die_of(signal: i32) {
    job::die_of(signal);
}
