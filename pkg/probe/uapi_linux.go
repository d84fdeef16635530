package probe

// What include/uapi/linux/sctp.h defines and golang.org/x/sys/unix does not.
// Numbers and layouts are the kernel's; the names follow RFC 6458 (sections
// named below). Structures are laid out like the kernel's, so that their memory
// can be handed over; where the kernel's are packed, fields are bytes.

const solSCTP = 132

// Socket options (RFC 6458, section 8).
const (
	optRTOInfo            = 0
	optInitMsg            = 2
	optNoDelay            = 3
	optPeerAddrParams     = 9
	optEvents             = 11
	optMaxSeg             = 13
	optStatus             = 14
	optPeerAddrInfo       = 15
	optDelayedSack        = 16
	optFragmentInterleave = 18
	optAuthChunk          = 21
	optAuthKey            = 23
	optAuthActiveKey      = 24
	optRecvRcvInfo        = 32

	optBindxAdd              = 100
	optConnectx              = 110
	optAssocStats            = 112
	optPRSupported           = 113
	optPRAssocStatus         = 115
	optReconfigSupported     = 117
	optEnableStreamReset     = 118
	optResetStreams          = 119
	optAddStreams            = 121
	optPeeloffFlags          = 122
	optStreamScheduler       = 123
	optInterleavingSupported = 125
	optAsconfSupported       = 128
	optAuthSupported         = 129
	optECNSupported          = 130
	optRemoteUDPPort         = 132
)

// States of an association as SCTP_STATUS gives them (enum sctp_sstate).
const stateEstablished = 4

// States of a path (enum sctp_spinfo_state).
const (
	pathInactive    = 0
	pathActive      = 2
	pathUnconfirmed = 3
)

// Message flags of recvmsg(2) and sendmsg(2).
const msgNotification = 0x8000

// Notifications (RFC 6458, section 6.1).
const (
	eventAssocChange    = 0x8001
	eventPeerAddrChange = 0x8002
	eventSendFailed     = 0x8003
	eventShutdown       = 0x8005
)

// What an association change says (RFC 6458, section 6.1.1).
const (
	assocUp           = 0
	assocLost         = 1
	assocShutdownDone = 3
)

// Ancillary data (RFC 6458, section 5.3).
const (
	cmsgSndRcv  = 1
	cmsgRcvInfo = 3
)

// Flags that go with a message (RFC 6458, section 5.3.2; enum
// sctp_sinfo_flags). The end of an association is unix.MSG_FIN.
const (
	flagUnordered = 1 << 0
	flagAddrOver  = 1 << 1
	flagLifetime  = 1 << 4 // SCTP_PR_SCTP_TTL: the lifetime is one (RFC 7496)
)

// Flags of the parameters of a path (enum sctp_spp_flags).
const pathHeartbeatNow = 1 << 2

// initMsg is struct sctp_initmsg (RFC 6458, section 8.1.3).
type initMsg struct {
	OutStreams, MaxInStreams, MaxAttempts, MaxInitTimeo uint16
}

// sackInfo is struct sctp_sack_info (RFC 6458, section 8.1.19): a frequency of
// 1 acknowledges every packet at once.
type sackInfo struct {
	Assoc            int32
	Delay, Frequency uint32
}

// subscription is struct sctp_event_subscribe as far as kernels before 5.0
// know it (RFC 6458, section 6.2.1): one byte each.
type subscription struct {
	DataIO, Association, Address, SendFailure, PeerError, Shutdown,
	PartialDelivery, Adaptation, Authentication, SenderDry uint8
}

// peerAddrInfo is struct sctp_paddrinfo (RFC 6458, section 8.2.2).
type peerAddrInfo struct {
	Assoc                    int32
	Address                  [128]byte
	State                    int32
	Cwnd, SRTT, RTO, PathMTU uint32
}

// status is struct sctp_status (RFC 6458, section 8.2.1).
type status struct {
	Assoc                 int32
	State                 int32
	Rwnd                  uint32
	Unacked, Pending      uint16
	InStreams, OutStreams uint16
	FragmentationPoint    uint32
	Primary               peerAddrInfo
}

// rcvInfo is struct sctp_rcvinfo (RFC 6458, section 5.3.5). PPID is in network
// order, as the sender gave it: the kernel does not look at it.
type rcvInfo struct {
	Stream, SSN, Flags uint16
	_                  uint16
	PPID               [4]byte
	TSN, CumTSN        uint32
	Context            uint32
	Assoc              int32
}

// assocChange is struct sctp_assoc_change (RFC 6458, section 6.1.1), without
// the chunk that may follow.
type assocChange struct {
	Type, Flags           uint16
	Length                uint32
	State, Error          uint16
	OutStreams, InStreams uint16
	Assoc                 int32
}

// assocValue is struct sctp_assoc_value (RFC 6458, section 8.1.16).
type assocValue struct {
	Assoc int32
	Value uint32
}

// pathParams is struct sctp_paddrparams (RFC 6458, section 8.1.12), packed, in
// the length that every kernel takes: newer ones have two members more.
type pathParams struct {
	Assoc      int32
	Address    [128]byte
	HBInterval uint32
	// A 16-bit maximum of retransmissions, then 32-bit MTU and delay.
	_ [10]byte
	// In the machine's byte order, at an offset that no 32-bit field has.
	Flags [4]byte
	_     [2]byte
}

// assocStats is struct sctp_assoc_stats, Linux's own counters of one
// association.
type assocStats struct {
	Assoc                                            int32
	_                                                int32
	RTOAddress                                       [128]byte
	MaxRTO, InSacks, OutSacks, OutPackets, InPackets uint64
	Retransmitted, OutOfSequence, Duplicates, Gaps   uint64
	OutUnordered, InUnordered, OutOrdered, InOrdered uint64
	OutControl, InControl                            uint64
}

// rtoInfo is struct sctp_rtoinfo (RFC 6458, section 8.1.1), in milliseconds.
type rtoInfo struct {
	Assoc             int32
	Initial, Max, Min uint32
}

// peeloffFlags is sctp_peeloff_flags_arg_t, Linux's SCTP_SOCKOPT_PEELOFF with
// flags for the new descriptor.
type peeloffFlags struct {
	Assoc, FD int32
	Flags     uint32
}

// Requests that an end lets its peer and itself make (RFC 6525, section 6.3.1).
const (
	resetStreamRequests = 1 << 0
	changeAssocRequests = 1 << 2
)

const resetOutgoing = 1 << 1 // SCTP_STREAM_RESET_OUTGOING

// resetStreams is struct sctp_reset_streams with a list of one (RFC 6525,
// section 6.3.2).
type resetStreams struct {
	Assoc        int32
	Flags, Count uint16
	Stream       uint16
}

// addStreams is struct sctp_add_streams (RFC 6525, section 6.3.4).
type addStreams struct {
	Assoc   int32
	In, Out uint16
}

// authKey is struct sctp_authkey (RFC 6458, section 8.3.2) before its key.
type authKey struct {
	Assoc          int32
	Number, Length uint16
}

// authKeyID is struct sctp_authkeyid (RFC 6458, section 8.1.9).
type authKeyID struct {
	Assoc  int32
	Number uint16
	_      uint16
}

// schedulerRoundRobin is SCTP_SS_RR of enum sctp_sched_type.
const schedulerRoundRobin = 2

// udpEncaps is struct sctp_udpencaps (RFC 6951, section 6.1): the port in
// network order. The address is aligned to 8 bytes.
type udpEncaps struct {
	Assoc   int32
	_       int32
	Address [128]byte
	Port    [2]byte
	_       [6]byte
}

// prStatus is struct sctp_prstatus (RFC 7496, section 4.4): messages given up
// before and after they were sent.
type prStatus struct {
	Assoc          int32
	Stream, Policy uint16
	Unsent, Sent   uint64
}
