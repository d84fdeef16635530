package sctp

// What include/uapi/linux/sctp.h defines and golang.org/x/sys/unix does not.
// Numbers and layouts are the kernel's; the names follow RFC 6458 (sections
// named below). Structures are laid out like the kernel's, so that their memory
// can be handed over; where the kernel's are packed, fields are bytes.

const solSCTP = 132

// Socket options (RFC 6458, section 8).
const (
	OptRTOInfo            = 0
	optAssocInfo          = 1
	OptInitMsg            = 2
	optNoDelay            = 3
	OptPeerAddrParams     = 9
	OptEvents             = 11
	OptMaxSeg             = 13
	OptStatus             = 14
	OptPeerAddrInfo       = 15
	OptDelayedSack        = 16
	OptFragmentInterleave = 18
	OptAuthChunk          = 21
	optAuthKey            = 23
	OptAuthActiveKey      = 24
	OptRecvRcvInfo        = 32

	optBindxAdd              = 100
	OptAssocStats            = 112
	OptPRSupported           = 113
	OptPRAssocStatus         = 115
	OptReconfigSupported     = 117
	OptEnableStreamReset     = 118
	OptResetStreams          = 119
	OptAddStreams            = 121
	optPeeloffFlags          = 122
	OptStreamScheduler       = 123
	OptInterleavingSupported = 125
	OptAsconfSupported       = 128
	OptAuthSupported         = 129
	OptECNSupported          = 130
	OptRemoteUDPPort         = 132
)

// StateEstablished is a state of an association as SCTP_STATUS gives it (enum
// sctp_sstate).
const StateEstablished = 4

// States of a path (enum sctp_spinfo_state).
const (
	PathInactive          = 0
	PathPotentiallyFailed = 1 // RFC 7829
	PathActive            = 2
	PathUnconfirmed       = 3
)

// msgNotification is a flag of recvmsg(2).
const msgNotification = 0x8000

// eventAssocChange is a type of notification (RFC 6458, section 6.1).
const eventAssocChange = 0x8001

// The states in an association change event (RFC 6458, section 6.1.1).
const (
	AssocLost         = 1
	AssocShutdownDone = 3
)

// Ancillary data (RFC 6458, section 5.3).
const (
	cmsgSndRcv  = 1
	cmsgRcvInfo = 3
)

// Flags that go with a message (RFC 6458, section 5.3.2; enum
// sctp_sinfo_flags). The end of an association is unix.MSG_FIN.
const (
	FlagUnordered = 1 << 0
	FlagAddrOver  = 1 << 1
	FlagLifetime  = 1 << 4 // SCTP_PR_SCTP_TTL: the lifetime is one (RFC 7496)
)

// pathHeartbeatNow asks for a heartbeat (SPP_HB_DEMAND of enum sctp_spp_flags).
const pathHeartbeatNow = 1 << 2

// InitMsg is struct sctp_initmsg (RFC 6458, section 8.1.3).
// The timeout is in milliseconds; 0 leaves a value alone.
type InitMsg struct {
	OutStreams, MaxInStreams, MaxAttempts, MaxInitTimeo uint16
}

// SackInfo is struct sctp_sack_info (RFC 6458, section 8.1.19): a frequency of
// 1 acknowledges every packet at once.
type SackInfo struct {
	Assoc            int32
	Delay, Frequency uint32
}

// Subscription is struct sctp_event_subscribe as far as kernels before 5.0
// know it (RFC 6458, section 6.2.1): one byte each.
type Subscription struct {
	DataIO, Association, Address, SendFailure, PeerError, Shutdown,
	PartialDelivery, Adaptation, Authentication, SenderDry uint8
}

// PeerAddrInfo is struct sctp_paddrinfo (RFC 6458, section 8.2.2).
type PeerAddrInfo struct {
	Assoc                    int32
	Address                  [128]byte
	State                    int32
	Cwnd, SRTT, RTO, PathMTU uint32
}

// Status is struct sctp_status (RFC 6458, section 8.2.1).
type Status struct {
	Assoc                 int32
	State                 int32
	Rwnd                  uint32
	Unacked, Pending      uint16
	InStreams, OutStreams uint16
	FragmentationPoint    uint32
	Primary               PeerAddrInfo
}

// RcvInfo is struct sctp_rcvinfo (RFC 6458, section 5.3.5). PPID is in network
// order, as the sender gave it: the kernel does not read it.
type RcvInfo struct {
	Stream, SSN, Flags uint16
	_                  uint16
	PPID               [4]byte
	TSN, CumTSN        uint32
	Context            uint32
	Assoc              int32
}

// AssocChange is struct sctp_assoc_change (RFC 6458, section 6.1.1), without
// the chunk that may follow.
type AssocChange struct {
	Type, Flags           uint16
	Length                uint32
	State, Error          uint16
	OutStreams, InStreams uint16
	Assoc                 int32
}

// AssocValue is struct sctp_assoc_value (RFC 6458, section 8.1.16).
type AssocValue struct {
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

// AssocStats is struct sctp_assoc_stats, Linux's own counters of one
// association.
type AssocStats struct {
	Assoc                                            int32
	_                                                int32
	RTOAddress                                       [128]byte
	MaxRTO, InSacks, OutSacks, OutPackets, InPackets uint64
	Retransmitted, OutOfSequence, Duplicates, Gaps   uint64
	OutUnordered, InUnordered, OutOrdered, InOrdered uint64
	OutControl, InControl                            uint64
}

// RTOInfo is struct sctp_rtoinfo (RFC 6458, section 8.1.1), in milliseconds; 0
// leaves a value alone.
type RTOInfo struct {
	Assoc             int32
	Initial, Max, Min uint32
}

// AssocParams is struct sctp_assocparams (RFC 6458, section 8.1.2); 0 leaves a
// value alone.
type AssocParams struct {
	Assoc int32
	// MaxRetrans in a row until the association is given up.
	MaxRetrans         uint16
	_                  uint16 // destinations of the peer: read only
	_, _               uint32 // receive windows: read only
	CookieLifeInMillis uint32
}

// peeloffFlags is sctp_peeloff_flags_arg_t, Linux's SCTP_SOCKOPT_PEELOFF with
// flags for the new descriptor.
type peeloffFlags struct {
	Assoc, FD int32
	Flags     uint32
}

// Requests that an end allows itself and its peer (RFC 6525, section 6.3.1).
const (
	ResetStreamRequests = 1 << 0
	ChangeAssocRequests = 1 << 2
)

// ResetOutgoing resets outgoing streams (SCTP_STREAM_RESET_OUTGOING).
const ResetOutgoing = 1 << 1

// ResetStreams is struct sctp_reset_streams with a list of one (RFC 6525,
// section 6.3.2).
type ResetStreams struct {
	Assoc        int32
	Flags, Count uint16
	Stream       uint16
}

// AddStreams is struct sctp_add_streams (RFC 6525, section 6.3.4).
type AddStreams struct {
	Assoc   int32
	In, Out uint16
}

// authKey is struct sctp_authkey (RFC 6458, section 8.3.2) before its key.
type authKey struct {
	Assoc          int32
	Number, Length uint16
}

// AuthKeyID is struct sctp_authkeyid (RFC 6458, section 8.1.9).
type AuthKeyID struct {
	Assoc  int32
	Number uint16
	_      uint16
}

// SchedulerRoundRobin is SCTP_SS_RR of enum sctp_sched_type.
const SchedulerRoundRobin = 2

// UDPEncaps is struct sctp_udpencaps (RFC 6951, section 6.1): the port in
// network order. The address is aligned to 8 bytes.
type UDPEncaps struct {
	Assoc   int32
	_       int32
	Address [128]byte
	Port    [2]byte
	_       [6]byte
}

// PRStatus is struct sctp_prstatus (RFC 7496, section 4.4): messages given up
// before and after they were sent.
type PRStatus struct {
	Assoc          int32
	Stream, Policy uint16
	Unsent, Sent   uint64
}
