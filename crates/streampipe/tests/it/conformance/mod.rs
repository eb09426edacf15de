//! The contract of a pair, clause by clause, shown through the public API.
//!
//! Rules of this directory:
//!
//! 1. A test shows one clause of the contract, is named as a sentence, and runs with every type that
//!    the clause holds for: S, a `Stream`; Q, a `SeqPacket`; D, a `Datagram`.
//! 2. Pairs come from [`stream`], [`seqpacket`], [`datagram`] and [`End`] alone, so that each engine
//!    runs the same source: where a test names `Stream` it is that of the engine under test
//!    (`crate::engines`). What only sockets can answer (descriptor numbers, options, names, `/proc`,
//!    what becomes of an end that is a descriptor) stands in a test of its own that says "Engine
//!    probe" and names [`SocketStream`].
//! 3. Where the library does better than the kernel, the test has the library's rule and says what
//!    the kernel does.
//! 4. A blocked call is tested by what holds in every interleaving; a hang is the time limit's.
//!
//! # R1: creation, in `creation`
//!
//! | clause | tests |
//! |---|---|
//! | two distinct descriptors, the lowest free ones, in order; never 0, 1 or 2 | `a_pair_takes_the_two_lowest_free_numbers_in_order` |
//! |  | `two_free_descriptors_are_enough` |
//! | both connected at once, full duplex | `both_ends_are_connected_at_once` |
//! | close-on-exec, not non-blocking; the flags of the raw call | `an_end_is_close_on_exec_and_not_nonblocking` |
//! |  | `call::nonblock_in_a_raw_type_is_honoured_on_both_ends` |
//! | a bad pointer for the result | not offered: the call returns two values |
//! | family, type and protocol that make no pair | `call::another_family_is_refused_as_the_kernel_says` |
//! |  | `call::another_type_is_refused` |
//! |  | `call::a_protocol_other_than_0_is_refused_even_the_one_linux_takes` |
//! | one free descriptor: `EMFILE`, and it stays free | `one_free_descriptor_makes_no_pair_and_stays_free` |
//! | `SO_TYPE`, `SO_DOMAIN`, `SO_PROTOCOL`, `SO_ACCEPTCONN` | `an_end_says_what_it_is` |
//! | setting those: `ENOPROTOOPT` | not offered: no setter here or in rustix |
//! | unnamed; a later `bind` | `an_end_has_no_name` |
//! |  | `a_name_bound_later_shows_at_the_peer` |
//! | no `listen`, `accept`, `connect`; `sendto` with an address | `an_end_neither_listens_nor_accepts` |
//! |  | `a_stream_and_a_seqpacket_stay_connected_to_their_peer` |
//! | what `fstat` says; no path opens it | `an_end_is_a_socket_that_no_path_opens` |
//! | an end and its descriptor are the same | `an_end_given_up_as_a_descriptor_is_the_same_end_again` |
//!
//! # R2: data, in `data`
//!
//! | clause | tests |
//! |---|---|
//! | full duplex, order kept | `data_keep_their_order_in_both_directions` |
//! | S joins writes | `a_stream_joins_what_was_written_and_cuts_it_where_the_reader_wants` |
//! | D, Q: one message per send and per receive | `a_packet_is_one_send_and_one_recv` |
//! | D, Q: a message longer than the buffer | `a_packet_longer_than_the_buffer_is_an_error_with_both_lengths` |
//! |  | `a_packet_error_is_the_kind_of_error_that_bad_data_are` |
//! | D, Q: the same size or less | `a_packet_of_the_buffers_length_or_less_is_whole` |
//! | the same: what came between two reads | `a_read_of_a_stream_takes_what_has_come_since_the_one_before` |
//! | S never counts beyond the buffer | `a_stream_never_counts_beyond_the_buffer` |
//! | D: messages of 0 bytes | `every_empty_datagram_arrives_by_itself` |
//! | Q: messages of 0 bytes are refused | `seqpacket_refuses_to_send_an_empty_packet` |
//! | Q: messages of 0 bytes from elsewhere are no end | `an_empty_packet_from_elsewhere_is_an_error_and_not_the_end` |
//! |  | `an_empty_packet_is_not_the_end_if_a_packet_follows_and_the_peer_closes` |
//! |  | `an_empty_packet_is_not_the_end_if_the_peer_then_writes_no_more` |
//! |  | `empty_packets_directly_in_front_of_the_end_are_the_end` |
//! |  | `two_empty_packets_are_not_the_end_if_a_packet_follows_and_the_peer_closes` |
//! |  | `two_empty_packets_are_not_the_end_if_descriptors_alone_follow` |
//! |  | `an_empty_packet_does_not_hide_a_packet_that_is_too_long` |
//! |  | `an_empty_packet_does_not_hide_the_descriptors_that_follow` |
//! |  | `an_empty_packet_does_not_hide_the_data_and_the_reset` |
//! | S: sends of 0 bytes | `a_write_of_0_bytes_delivers_nothing` |
//! | sends of 0 bytes after the close | `a_send_of_0_bytes_to_a_closed_peer_still_fails` |
//! |  | `seqpacket_refuses_to_send_an_empty_packet` |
//! | receives of 0 bytes, S | `a_read_into_0_bytes_returns_0_and_takes_nothing` |
//! |  | `recv_fds_into_0_bytes_of_a_stream_is_refused` |
//! | receives of 0 bytes, D and Q | `a_buffer_of_0_bytes_takes_a_packet_and_says_so` |
//! |  | `a_buffer_of_0_bytes_would_wait_for_a_packet` |
//! |  | `the_end_is_no_error_with_a_buffer_of_0_bytes` |
//! | `MSG_PEEK`, `SO_PEEK_OFF` | not offered: a peek at descriptors would give each of them twice |
//! | `MSG_WAITALL` | `read_exact_waits_for_the_whole_buffer` |
//! |  | `read_exact_ends_with_the_stream_the_timeout_or_the_wait_that_is_not_allowed` |
//! | gather and scatter | `a_stream_gathers_and_scatters` |
//! |  | `a_stream_takes_any_number_of_pieces` |
//! | `msg_flags` | not offered: the library reads them and reports errors |
//! | `sendmmsg`, `recvmmsg` | not offered: one message per call |
//! | a bad buffer | not offered: a slice is none |
//! | plain data through `recv_fds` | `recv_fds_without_descriptors_is_a_receive` |
//!
//! # R3: limits, blocking, buffers, in `limits`
//!
//! | clause | tests |
//! |---|---|
//! | D, Q: a message larger than the send buffer | `a_packet_larger_than_the_send_buffer_is_refused_at_once` |
//! |  | `the_longest_packet_is_the_send_buffer_less_32_bytes` |
//! | S: blocks and sends all | `a_blocking_write_to_a_stream_takes_all` |
//! |  | `one_blocking_write_takes_all_that_it_is_given` |
//! | S: non-blocking, a part | `a_nonblocking_write_takes_what_there_is_room_for` |
//! | full; nothing is lost | `a_full_pipe_would_block_and_loses_nothing` |
//! | all mixes of buffer sizes | `any_mix_of_sizes_loses_nothing_and_keeps_the_order` |
//! |  | `packets_of_any_mix_of_sizes_stay_whole` |
//! | 278 messages of 1 byte, 93 of 1000 | `a_default_pipe_holds_278_bytes_or_93_thousands` |
//! | `SO_SNDBUF`, `SO_RCVBUF`: doubled, clamped | `the_buffers_are_doubled_and_kept_in_bounds` |
//! | the same: shrinking, enlarging | `a_send_buffer_below_its_queue_is_full` |
//! |  | `a_send_buffer_that_grows_wakes_a_writer` |
//! | `SO_RCVBUFFORCE` | not offered: it wants privileges, and the size is ignored |
//! | timeouts | `a_wait_that_reaches_its_timeout_changes_nothing` |
//! |  | `a_timeout_is_none_at_first_and_never_0` |
//! |  | `one_timeout_bounds_the_whole_call_of_a_stream` |
//! | ways of waiting belong to the handle | `each_handle_waits_in_its_own_way` |
//! |  | `no_way_of_waiting_is_kept_in_the_socket` |
//! |  | `a_blocking_handle_waits_whatever_the_description_says` |
//! | the forms of `SO_RCVTIMEO` (`EDOM`, a larger struct) | not offered: a `Duration` has none of them |
//! | signals | `a_signal_never_reaches_the_caller` |
//! | `EINTR` without `SA_RESTART` | not offered: it never reaches the caller |
//! | a writer in the middle of a write when the peer closes | `a_write_cut_short_by_a_close_returns_what_was_taken` |
//! |  | `a_blocked_sender_of_packets_is_told_of_the_close` |
//! | `SO_RCVLOWAT`, `SO_LINGER`, `SO_KEEPALIVE` and others | not offered: nothing on a pair depends on them |
//! | `SIOCINQ` | `what_is_queued_is_counted_without_control_data` |
//! |  | `of_queued_datagrams_the_first_is_counted` |
//! |  | `of_queued_packets_with_an_end_all_are_counted` |
//! | `SO_INQ`, `SCM_INQ` | not offered: `bytes_queued` asks when it is asked |
//!
//! # R4: close and shutdown, in `closing` and `polling`
//!
//! | clause | tests |
//! |---|---|
//! | read after peer close, S and Q | `the_end_comes_after_the_queue_when_the_peer_closes` |
//! | read after peer close, D | `a_datagram_reader_is_not_told_that_the_peer_closed` |
//! | write after peer close, S and Q | `a_write_to_a_closed_peer_is_a_broken_pipe` |
//! | write after peer close, D | `a_datagram_to_a_closed_peer_is_refused_once_and_then_there_is_no_peer` |
//! |  | `a_datagram_with_a_descriptor_to_a_closed_peer_is_refused` |
//! |  | `a_refused_datagram_discards_what_was_not_read` |
//! |  | `a_datagram_end_can_be_shut_down_when_the_peer_is_gone` |
//! | `SIGPIPE` with it | `a_write_that_nobody_will_read_raises_no_signal` |
//! | peer closed with our data unread: read, S | `stream_delivers_the_queue_before_the_reset` |
//! | the same, Q | `seqpacket_delivers_the_queue_before_the_reset` |
//! |  | `seqpacket_delivers_descriptors_before_the_reset` |
//! |  | `seqpacket_reports_a_reset_without_a_queue_once` |
//! |  | `seqpacket_tells_of_a_reset_once_over_all_handles` |
//! | the same, D: read and write | `a_datagram_end_hears_of_no_reset` |
//! | the same: write, S | `a_write_after_a_reset_leaves_the_reset_to_the_reader_of_a_stream` |
//! | the same: write, Q | `seqpacket_tells_the_receiver_of_a_reset_that_a_send_met_first` |
//! | own `SHUT_RD`: read, S and Q | `own_shutdown_of_reading_leaves_the_queue_and_then_the_end` |
//! | own `SHUT_RD`: read, D | `own_shutdown_of_reading_ends_a_datagram_end_that_may_wait` |
//! |  | `own_shutdown_of_reading_ends_a_datagram_end_that_may_wait_for_a_time` |
//! | peer writes after our `SHUT_RD` | `a_write_to_a_peer_that_reads_no_more_is_a_broken_pipe` |
//! |  | `a_datagram_end_stays_connected_to_a_peer_that_reads_no_more` |
//! | own `SHUT_WR`: write | `own_shutdown_of_writing_makes_writes_fail` |
//! | own `SHUT_WR`: the peer reads | `the_end_comes_after_the_queue_when_the_peer_writes_no_more` |
//! |  | `a_datagram_reader_is_not_told_that_the_peer_writes_no_more` |
//! | the queue before the end, also while a receive waits | `what_is_sent_just_before_a_shutdown_comes_before_the_end` |
//! |  | `what_is_queued_before_own_shutdown_comes_before_the_end` |
//! | shutdown clears no queue; the other half works on | `a_shutdown_clears_neither_queue` |
//! |  | `own_shutdown_of_writing_makes_writes_fail` |
//! | shutdown twice, in any order; for all handles | `a_shutdown_may_come_twice_and_in_any_order` |
//! |  | `a_shutdown_concerns_every_handle_of_the_end` |
//! | a bad `how`, a bad descriptor | not offered: the types have none |
//! | a blocked receive is woken | `own_shutdown_wakes_a_blocked_receive` |
//! |  | `the_peers_shutdown_wakes_a_blocked_receive` |
//! |  | `the_peers_close_wakes_a_blocked_receive` |
//! | the end comes with the last copy | `the_end_comes_with_the_last_handle` |
//! |  | `the_end_comes_when_the_last_process_closes` |
//! |  | `an_end_given_up_as_a_descriptor_still_counts` |
//! | the same, in flight | `a_copy_in_flight_keeps_the_end_open` |
//! |  | `the_end_comes_when_the_last_copy_in_flight_is_dropped` |
//! | `poll`: idle, peer closed | `an_idle_end_is_writable_and_one_with_data_readable` |
//! |  | `a_closed_peer_is_a_hang_up` |
//! |  | `a_datagram_end_shows_nothing_of_its_peer` |
//! | `poll`: shutdowns | `own_shutdown_of_reading_shows_here_and_not_there` |
//! |  | `own_shutdown_of_writing_shows_at_the_peer` |
//! |  | `own_shutdown_of_both_is_a_hang_up_on_both_sides` |
//! | `POLLOUT` is a matter of room | `an_end_that_writes_no_more_is_still_writable` |
//! |  | `a_full_end_is_not_writable_until_it_is_drained` |
//! | pollers for nothing, or for `RDHUP` alone | `a_poll_for_nothing_wakes_on_a_hang_up` |
//! |  | `a_poll_for_the_peers_end_wakes_on_its_shutdown` |
//! | `epoll`, edges | `an_edge_comes_once_for_each_write` |
//!
//! # R5: descriptors, in `descriptors`
//!
//! | clause | tests |
//! |---|---|
//! | the same open file at the lowest free number | `a_descriptor_arrives_as_the_same_open_file` |
//! |  | `a_descriptor_arrives_at_the_lowest_free_number` |
//! |  | `one_descriptor_may_be_given_twice` |
//! |  | `descriptors_travel_in_both_directions` |
//! | also if the sender closed it, or ended | `a_descriptor_arrives_though_its_sender_closed_all` |
//! |  | `a_descriptor_outlives_the_process_that_sent_it` |
//! | also the pair itself | `an_end_is_not_sent_over_its_own_pair_unasked` |
//! |  | `an_end_sent_over_its_own_pair_is_that_end` |
//! | order | `descriptors_keep_their_order_within_and_across_sends` |
//! | close-on-exec | `a_descriptor_arrives_close_on_exec_whatever_it_was` |
//! | never before its data, never after | `both_kinds_of_receive_keep_the_order_of_data_and_descriptors` |
//! |  | `descriptors_come_with_the_first_of_their_bytes_and_only_then` |
//! | a plain receive loses nothing | `a_plain_receive_that_meets_descriptors_loses_nothing` |
//! |  | `a_read_of_a_stream_that_meets_descriptors_keeps_the_earlier_bytes_too` |
//! |  | `a_stream_hands_over_what_waits_piece_by_piece` |
//! |  | `descriptors_that_were_met_come_before_the_end` |
//! |  | `descriptors_that_wait_are_closed_with_the_end` |
//! |  | `a_packet_that_waits_is_not_lost_to_a_short_buffer` |
//! | S: with the bytes they were sent with | `a_stream_hands_over_descriptors_with_their_first_byte_and_its_neighbours` |
//! | S: two such sends are never joined | `a_stream_never_joins_two_sends_with_descriptors` |
//! | S: no descriptors join like none | `a_stream_joins_sends_of_no_descriptors` |
//! | S: without a byte | `descriptors_without_bytes_are_refused_on_a_stream` |
//! | D, Q: without a byte | `a_packet_of_0_bytes_carries_descriptors` |
//! |  | `a_packet_of_0_bytes_with_descriptors_is_not_the_end` |
//! |  | `a_packet_of_0_bytes_that_lost_its_descriptors_is_over` |
//! | S: a receive of 0 bytes | `a_receive_of_0_bytes_of_a_stream_leaves_descriptors_where_they_are` |
//! |  | `a_scattered_read_of_0_bytes_returns_0_while_descriptors_wait` |
//! | `MSG_PEEK` with descriptors | not offered: no peeking |
//! | a control buffer that is too small | not offered: it always has room for all |
//! | with a message longer than the buffer | `descriptors_of_a_packet_too_long_are_closed_and_counted` |
//! | several blocks are merged | `several_blocks_of_one_message_arrive_as_one` |
//! | no free descriptor at the receiver | `descriptors_without_room_are_lost_and_the_bytes_stay` |
//! |  | `just_enough_room_is_enough` |
//! |  | `a_plain_receive_without_room_says_what_is_lost` |
//! | sender: a descriptor that is none, a bad length, half a number | not offered: a `BorrowedFd` is one, and the library writes the message |
//! | sender: 253, and more | `as_many_as_253_descriptors_travel_together` |
//! |  | `more_than_253_descriptors_are_refused_and_not_sent` |
//! | sender: `ETOOMANYREFS` | `too_many_descriptors_in_flight_are_refused` |
//! | sender: no room, a large send, a peer that is gone | `a_full_pipe_takes_no_descriptors_either` |
//! |  | `descriptors_of_a_large_send_arrive_exactly_once` |
//! |  | `a_large_send_that_cannot_be_finished_has_sent_its_descriptors_once` |
//! |  | `a_send_cut_short_by_a_close_returns_what_was_taken` |
//! |  | `descriptors_to_a_peer_that_reads_no_more_are_not_kept` |
//! | in flight when both ends close | `descriptors_in_flight_are_closed_with_both_ends` |
//! | rings | `an_end_queued_in_itself_is_collected` |
//! |  | `ends_queued_in_a_ring_are_collected` |
//! |  | `rings_that_share_an_end_and_their_tail_are_collected` |
//! |  | `a_ring_that_somebody_can_still_receive_is_not_collected` |
//! | `SO_PASSRIGHTS` | `an_end_that_refuses_descriptors_fails_their_sender` |
//! |  | `descriptors_queued_before_a_refusal_are_closed` |
//! | `EFAULT` while control data are copied | not offered: the buffers are the library's own |
//!
//! # R6: credentials, in `credentials`: no call offers them; they must not disturb
//!
//! | clause | tests |
//! |---|---|
//! | `SO_PEERCRED` on both ends, after the exit too | `the_peer_of_both_ends_is_who_made_the_pair` |
//! |  | `the_peer_is_who_made_the_pair_and_not_who_holds_an_end` |
//! |  | `the_maker_is_remembered_after_its_end` |
//! | read-only; pid namespaces; `SO_PEERGROUPS` | not offered: no call |
//! | `SCM_CREDENTIALS`, asked for before or after the send | `credentials_that_somebody_asked_for_disturb_no_receive` |
//! | with descriptors; the room they take | `credentials_take_no_room_from_descriptors` |
//! |  | `credentials_sent_along_with_a_descriptor_are_left_out` |
//! | another process's credentials; a short buffer | not offered: no call |
//! | `SCM_PIDFD`, `SO_PASSPIDFD` | not offered: no call, and none in rustix to ask for them |
//!
//! # R7: out of band, in `data`
//!
//! | clause | tests |
//! |---|---|
//! | S: a plain receive leaves it out | `an_out_of_band_byte_from_elsewhere_is_left_out_of_the_stream` |
//! | `MSG_OOB`, `SIOCATMARK`, `SO_OOBINLINE`, `EPOLLPRI` | not offered: a second way through one stream is a trap |
//! | D, Q: `EOPNOTSUPP` | `packets_have_no_out_of_band_bytes` |

/// R1: what a fresh pair is.
mod creation;

/// R2: what is written is read.
mod data;

/// R3: limits, blocking, buffers.
mod limits;

/// R4: close and shutdown.
mod closing;

/// R4: what `poll` and `epoll` say of it.
mod polling;

/// R5: descriptors that travel.
mod descriptors;

/// R6: who the peer is.
mod credentials;

use std::error::Error;
use std::fmt::Debug;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use streampipe::{ConvertError, Datagram, Engine, SeqPacket, Stream};

use crate::engines;

/// Long enough to be a wait, short enough to be waited for.
const SHORT: Duration = Duration::from_millis(20);

/// Longer than a test may take.
const LONG: Duration = Duration::from_secs(1000);

/// What one receive brings, or the kind of its error.
type Heard<'bytes> = Result<&'bytes [u8], ErrorKind>;

/// 0 bytes: the end for a `Stream` or a `SeqPacket`, an empty packet for a `Datagram`.
const NOTHING: Heard<'static> = Ok(b"");

const RESET: Heard<'static> = Err(ErrorKind::ConnectionReset);

/// A stream over a socket, where nothing else can answer what is asked.
type SocketStream = Stream;

/// Two connected streams of the engine under test.
fn stream() -> (Stream, Stream) {
    End::pair()
}

/// Two connected ends that carry packets, with an end.
fn seqpacket() -> (SeqPacket, SeqPacket) {
    End::pair()
}

/// Two connected ends that carry packets, without an end.
fn datagram() -> (Datagram, Datagram) {
    End::pair()
}

/// What an engine offers: a rule that several types share is written once, for this.
trait End:
    AsFd
    + AsRawFd
    + Debug
    + Into<OwnedFd>
    + TryFrom<OwnedFd, Error = ConvertError>
    + Send
    + Sync
    + Sized
{
    const NAME: &'static str;

    fn pair() -> (Self, Self) {
        Self::try_pair().expect("a pair")
    }

    fn try_pair() -> io::Result<(Self, Self)>;
    /// With about so much room in each direction for what was not read.
    fn pair_with_room(bytes: usize) -> (Self, Self);
    fn try_clone(&self) -> io::Result<Self>;

    /// `write` of a stream.
    fn send(&self, bytes: &[u8]) -> io::Result<usize>;
    /// `read` of a stream.
    fn recv(&self, buffer: &mut [u8]) -> io::Result<usize>;
    fn send_fds(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize>;
    fn recv_fds(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)>;
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;

    fn set_nonblocking(&self, nonblocking: bool);
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;
    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;
    fn read_timeout(&self) -> Option<Duration>;
    fn write_timeout(&self) -> Option<Duration>;
    fn set_send_buffer_size(&self, bytes: usize) -> usize;
    fn send_buffer_size(&self) -> usize;
    fn set_recv_buffer_size(&self, bytes: usize) -> usize;
    fn recv_buffer_size(&self) -> usize;
    fn refuse_fds(&self);
    fn allow_self(&self);
}

macro_rules! implement_end {
    ($type:ident, $pair:expr, $pair_with_room:expr, $send:expr, $recv:expr) => {
        impl End for $type {
            const NAME: &'static str = stringify!($type);

            fn try_pair() -> io::Result<(Self, Self)> {
                $pair()
            }
            fn pair_with_room(bytes: usize) -> (Self, Self) {
                $pair_with_room(bytes).expect("a pair")
            }
            fn try_clone(&self) -> io::Result<Self> {
                <$type>::try_clone(self)
            }
            fn send(&self, bytes: &[u8]) -> io::Result<usize> {
                $send(self, bytes)
            }
            fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
                $recv(self, buffer)
            }
            fn send_fds(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
                <$type>::send_fds(self, bytes, fds)
            }
            fn recv_fds(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
                <$type>::recv_fds(self, buffer)
            }
            fn shutdown(&self, how: Shutdown) -> io::Result<()> {
                <$type>::shutdown(self, how)
            }
            fn set_nonblocking(&self, nonblocking: bool) {
                <$type>::set_nonblocking(self, nonblocking).expect("no error is known");
            }
            fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                <$type>::set_read_timeout(self, timeout)
            }
            fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                <$type>::set_write_timeout(self, timeout)
            }
            fn read_timeout(&self) -> Option<Duration> {
                <$type>::read_timeout(self).expect("no error is known")
            }
            fn write_timeout(&self) -> Option<Duration> {
                <$type>::write_timeout(self).expect("no error is known")
            }
            fn set_send_buffer_size(&self, bytes: usize) -> usize {
                <$type>::set_send_buffer_size(self, bytes).expect("a size")
            }
            fn send_buffer_size(&self) -> usize {
                <$type>::send_buffer_size(self).expect("a size")
            }
            fn set_recv_buffer_size(&self, bytes: usize) -> usize {
                <$type>::set_recv_buffer_size(self, bytes).expect("a size")
            }
            fn recv_buffer_size(&self) -> usize {
                <$type>::recv_buffer_size(self).expect("a size")
            }
            fn refuse_fds(&self) {
                <$type>::refuse_fds(self).expect("none on a pair");
            }
            fn allow_self(&self) {
                <$type>::allow_self(self);
            }
        }
    };
}

/// The same for packets.
macro_rules! packets_with_room {
    ($type:ident) => {
        |bytes| {
            let (a, b) = $type::pair()?;
            a.set_send_buffer_size(bytes)?;
            b.set_send_buffer_size(bytes)?;
            io::Result::Ok((a, b))
        }
    };
}

implement_end!(
    Stream,
    engines::pair,
    engines::pair_with_room,
    |mut end: &Stream, bytes| end.write(bytes),
    |mut end: &Stream, buffer| end.read(buffer)
);
implement_end!(
    SeqPacket,
    SeqPacket::pair,
    packets_with_room!(SeqPacket),
    SeqPacket::send,
    SeqPacket::recv
);
implement_end!(
    Datagram,
    Datagram::pair,
    packets_with_room!(Datagram),
    Datagram::send,
    Datagram::recv
);

/// As `tests_of_engines!`, for rules that hold for several types: the body runs once with each.
///
/// With the ring that is `Stream`, which is named first, or the test is of sockets alone.
macro_rules! tests_of_types {
    ($($(#[$meta:meta])* fn $name:ident<$end:ident: $($type:ident)|+>() $body:block)*) => {$(
        $(#[$meta])*
        fn $name(path: &str) {
            fn check<$end: $crate::conformance::End>() $body
            let checks: &[(&str, fn())] = &[$((stringify!($type), check::<$type>)),+];
            $crate::conformance::check_types(path, checks);
        }
        $crate::conformance::with_engines_of!($name $($type)+);
    )*};
}
use tests_of_types;

/// With which engines there is something to check.
macro_rules! with_engines_of {
    ($name:ident Stream $($type:ident)*) => {
        $crate::engines::with_each_engine!($name);
    };
    ($name:ident $($type:ident)+) => {
        $crate::engines::with_sockets!($name);
    };
}
use with_engines_of;

/// Runs what is to be checked of each type, alone; only streams have the ring.
fn check_types(path: &str, checks: &[(&'static str, fn())]) {
    crate::support::alone(path, || {
        for &(name, check) in checks {
            if engines::engine() == Engine::Socket || name == "Stream" {
                let _said_on_failure = With(name);
                check();
            }
        }
    });
}

/// Says on a panic which type the body ran with.
struct With(&'static str);

impl Drop for With {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = writeln!(io::stderr(), "with {}", self.0);
        }
    }
}

/// Sends all of it at once.
#[track_caller]
fn say(end: &impl End, bytes: &[u8]) {
    let sent = end.send(bytes).unwrap_or_else(|error| panic!("{end:?}: {error}"));
    assert_eq!(sent, bytes.len(), "{end:?}");
}

/// Sends all of it at once, with descriptors.
#[track_caller]
fn hand(end: &impl End, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
    let sent = end.send_fds(bytes, fds).unwrap_or_else(|error| panic!("{end:?}: {error}"));
    assert_eq!(sent, bytes.len(), "{end:?}");
}

/// Why a send of this fails.
#[track_caller]
fn refused(end: &impl End, bytes: &[u8]) -> ErrorKind {
    match end.send(bytes) {
        Ok(sent) => panic!("{end:?}: {sent} bytes were sent"),
        Err(error) => error.kind(),
    }
}

/// What one receive brings, up to 64 bytes.
fn hear(end: &impl End) -> Result<Vec<u8>, ErrorKind> {
    let mut buffer = [0; 64];
    let len = end.recv(&mut buffer).map_err(|error| error.kind())?;
    Ok(buffer[..len].to_vec())
}

/// Checks what the next receives bring, one after the other.
#[track_caller]
fn hears(end: &impl End, expected: &[Heard<'_>]) {
    for (index, expected) in expected.iter().enumerate() {
        let heard = hear(end);
        let heard = heard.as_deref().map_err(|&kind| kind);
        assert_eq!(heard, *expected, "{end:?}, receive {index}");
    }
}

/// Checks that a receive would have to wait.
#[track_caller]
fn hears_no_more(end: &impl End) {
    end.set_nonblocking(true);
    hears(end, &[Err(ErrorKind::WouldBlock)]);
    end.set_nonblocking(false);
}

/// What one receive brings, up to 64 bytes, with its descriptors.
#[track_caller]
fn take(end: &impl End) -> (Vec<u8>, Vec<OwnedFd>) {
    let mut buffer = [0; 64];
    let received = end.recv_fds(&mut buffer);
    let (len, fds) = received.unwrap_or_else(|error| panic!("{end:?}: {error}"));
    (buffer[..len].to_vec(), fds)
}

/// Sends such messages until there is no more room; returns how many.
fn fill(end: &impl End, message: &[u8]) -> usize {
    end.set_nonblocking(true);
    let mut count = 0;
    loop {
        match end.send(message) {
            Ok(sent) if sent == message.len() => count += 1,
            // A stream that took the rest of its room.
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{end:?}: {error}"),
        }
    }
    end.set_nonblocking(false);
    count
}

/// The error of this type inside.
#[track_caller]
fn inside<E: Error + Copy + 'static>(error: &io::Error) -> E {
    let inside = error.get_ref().and_then(|inside| inside.downcast_ref::<E>());
    *inside.unwrap_or_else(|| panic!("another error: {error:?}"))
}

/// What `poll` says of an end for all that can be asked for, now.
fn revents(end: impl AsFd) -> PollFlags {
    let asked = PollFlags::IN | PollFlags::OUT | PollFlags::RDHUP;
    let mut watched = [PollFd::from_borrowed_fd(end.as_fd(), asked)];
    rustix::event::poll(&mut watched, Some(&Timespec::default())).expect("poll");
    watched[0].revents()
}

/// A pipe whose writing end is passed around: what became of it shows at the reader.
struct Canary {
    reader: OwnedFd,
}

impl Canary {
    fn new() -> (Self, OwnedFd) {
        let flags = rustix::pipe::PipeFlags::CLOEXEC;
        let (reader, writer) = rustix::pipe::pipe_with(flags).expect("a pipe");
        (Self { reader }, writer)
    }

    /// Whether no copy of the writing end is left, neither open nor in flight.
    fn is_gone(&self) -> bool {
        revents(&self.reader).contains(PollFlags::HUP)
    }

    /// Waits for that, while the kernel may have to collect it; says whether it came.
    fn goes(&self) -> bool {
        // The collector runs when a socket is closed. An end that is in flight is not, so the last
        // close of a ring may come too late for the run that the others asked for.
        (0..600).any(|_| {
            drop(SocketStream::pair());
            crate::support::readable_within(self.reader.as_fd(), Duration::from_millis(100))
        })
    }

    /// Checks that this descriptor is the writing end.
    #[track_caller]
    fn hears(&self, writer: impl AsFd) {
        rustix::io::write(writer, b"!").expect("a pipe with room");
        let mut buffer = [0; 4];
        assert_eq!(rustix::io::read(&self.reader, &mut buffer), Ok(1));
        assert_eq!(buffer[0], b'!');
    }
}

/// Set in a child to the type of the end that it has.
const CHILD: &str = "STREAMPIPE_TEST_CHILD";

/// Runs one body here and one in a child, each with its end of a fresh pair.
///
/// Must be all that the body of a test does: the child is this program again, and its test comes
/// here to find its body. Not by `fork`, which refuses beside the second thread of the harness.
/// The child's end is its standard input as well, so it is open there until the child ends.
fn with_child<E: End>(parent: impl FnOnce(E, &mut Child), child: impl FnOnce(E)) {
    if let Some(wanted) = std::env::var_os(CHILD) {
        if wanted == E::NAME {
            let fd = io::stdin().as_fd().try_clone_to_owned().expect("room");
            child(E::try_from(fd).expect("an end as standard input"));
        }
        return;
    }
    let (ours, theirs) = E::pair();
    let mut process = Command::new(std::env::current_exe().expect("the test binary"))
        .args(std::env::args_os().skip(1))
        .env(CHILD, E::NAME)
        .stdin(Into::<OwnedFd>::into(theirs))
        .spawn()
        .expect("the process starts");
    parent(ours, &mut process);
    assert!(process.wait().expect("our child").success());
}

/// Whether this kernel is at least that new; if not, says what is not tested.
fn has_kernel(major: u32, minor: u32, what: &str) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc is mounted");
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found < (major, minor) {
        crate::support::skip(what, &format!("it needs Linux {major}.{minor}"));
    }
    found >= (major, minor)
}
