package guest

import (
	"os/exec"
	"runtime"
)

// startWithParent starts a command from a thread that lives until wait
// returns. Pdeathsig is sent when the thread that started the child ends
// (prctl(2), PR_SET_PDEATHSIG), not the process, and Go ends threads.
func startWithParent(cmd *exec.Cmd, wait func()) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			wait()
		}
	}()
	return <-started
}
