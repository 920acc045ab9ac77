# aarch64.cmake - Tests that do not run under qemu-user 7.2, each with its reason; the processor is innocent of all of them.
#
# Read by ctest after the lists of the tests (see CMakeLists.txt): it names these as disabled at the end of each run. A name that is no test's
# ends it with an error, which set_tests_properties() alone does not.
function(leave_out)
  foreach(test ${ARGN})
    list(FIND all_tests ${test} found)
    if(found EQUAL -1)
      message(FATAL_ERROR "aarch64.cmake: there is no test ${test}")
    endif()
    set_tests_properties(${test} PROPERTIES DISABLED TRUE)
  endforeach()
endfunction()
set(all_tests ${alloc_test_TESTS} ${sched_test_TESTS} ${gc_test_TESTS})

# qemu-user has a thread of its own, which /proc/self/task shows: for the search for deadlocks a thread that may yet wake somebody.
leave_out(
  sched.DeadlockDeathTest.IsFoundAtOnce
  sched.DeadlockDeathTest.IsFoundOnSeveralProcs
  sched.DeadlockDeathTest.IsFoundBesideADescriptorThatNobodyWaitsFor
  sched.DeadlockDeathTest.IsFoundWhenTheWaitForADescriptorHasEnded
  sched.DeadlockDeathTest.IsFoundBesideTheThreadThatPollsForThreads
  sched.DeadlockDeathTest.IsFoundBesideThreadsThatSleepForEver
  sched.DeadlockDeathTest.IsFoundAfterWorkThatLastedLongerThanTheLooks
  sched.DeadlockDeathTest.IsFoundWhenTheLastThreadFallsAsleepLate
  sched.DeadlockDeathTest.IsFoundWhenThePoolsHaveAged)

# qemu-user itself fails ("qemu_plugin_vcpu_init_hook: assertion failed") when the child of a process with several threads starts one.
leave_out(
  sched.DeadlockDeathTest.IsFoundInAForkedChild
  sched.Descriptor.AForkedChildWaitsByItself
  sched.PoolAge.AForkedChildHasWholePoolsAndAgesThemAnew
  sched.Fork.GivesTheChildTheGoroutineThatForked
  sched.Fork.InTheChildNeitherWhoComputesNorWhoBlocksHoldsUpTheOthers
  sched.Fork.AChildThatStartsAnewPassesForeignSignalsOn)

# qemu-user answers success to an madvise() that it does not know, MADV_GUARD_INSTALL for one, and does nothing: stacks have no guard.
leave_out(
  sched.StackDeathTest.OverflowNamesTheGoroutine
  sched.Stack.EachHasItsGuard)

# qemu-user sets no limit to the address space of its program: the tests would take all memory of the machine.
leave_out(
  alloc.Pagemap.FitsIntoALimitedAddressSpace
  sched.Threads.ThatCannotBeMadeAreMadeWhenTheyCan)

# qemu-user chooses addresses for mmap() itself, from below and not where one just became free.
leave_out(alloc.MisuseDeathTest.ForeignPointerInTheHoleOfAnArenaIsForeign)

# qemu-user's /proc/self/maps does not mark the heap of sbrk(), and its /proc/self/comm is its own name.
leave_out(
  alloc.MisuseDeathTest.MemoryAboveTheBreakGoesToTheNextAllocator
  alloc.Os.ReadsSmallFiles)

# qemu-user does not know epoll_pwait2(), so timeouts are whole milliseconds.
leave_out(sched.Poller.ASubmillisecondTimeoutIsKept)

# They measure the emulator's use of the processor as well, and its threads' switches.
leave_out(
  sched.Idle.AProgramThatWaitsUsesNoProcessor
  sched.Sysmon.SleepsWhileAllIsIdle)

# Its threads are not all the program's, /proc/self/mem and pagemap are the emulator's, and the frame of a signal's handler is not the kernel's: nothing
# that stops threads or looks for roots is of this processor there.
list(FILTER gc_test_TESTS INCLUDE REGEX "^gc\\.(Stop|Leak)")
leave_out(
  ${gc_test_TESTS}
  gc.Workers.EachWorksOnceAndIsGone
  gc.Workers.WorkOnWhileTheWorldStands)

# qemu-user keeps signals for itself, and does not show them as blocked.
leave_out(gc.Workers.TakeNoSignal)
