package probe

// What include/uapi/linux/sctp.h defines and golang.org/x/sys/unix does not.
// Numbers and layouts are the kernel's; the names follow RFC 6458 (sections
// named below). Structures here have no padding the compiler would add: they
// are written field by field in the machine's byte order.

const solSCTP = 132

// Socket options (RFC 6458, section 8).
const (
	optRTOInfo            = 0
	optAssocInfo          = 1
	optInitMsg            = 2
	optNoDelay            = 3
	optDisableFragments   = 8
	optPeerAddrParams     = 9
	optEvents             = 11
	optMaxSeg             = 13
	optStatus             = 14
	optPeerAddrInfo       = 15
	optDelayedSack        = 16
	optFragmentInterleave = 18
	optRecvRcvInfo        = 32
	optBindxAdd           = 100
	optBindxRem           = 101
	optPeeloff            = 102
	optConnectx           = 110
	optAssocStats         = 112
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
	MaxRxt     uint16
	MTU        uint32
	SackDelay  uint32
	Flags      uint32
	_          uint16
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
