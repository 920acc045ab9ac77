# aarch64.cmake - Tests that do not run under qemu-user 7.2, each with its reason; the processor is innocent of all of them.
#
# Read by ctest after the lists of the tests (see CMakeLists.txt): it names these as disabled at the end of each run, and ends with an error
# if one is no test's name.

# qemu-user has a thread of its own, which /proc/self/task shows: for the search for deadlocks a thread that may yet wake somebody.
foreach(test IN ITEMS IsFoundAtOnce IsFoundOnSeveralProcs IsFoundBesideADescriptorThatNobodyWaitsFor
        IsFoundWhenTheWaitForADescriptorHasEnded IsFoundBesideTheThreadThatPollsForThreads IsFoundBesideThreadsThatSleepForEver
        IsFoundAfterWorkThatLastedLongerThanTheLooks IsFoundWhenTheLastThreadFallsAsleepLate IsFoundWhenThePoolsHaveAged)
  set_tests_properties(sched.DeadlockDeathTest.${test} PROPERTIES DISABLED TRUE)
endforeach()

# qemu-user itself fails ("qemu_plugin_vcpu_init_hook: assertion failed") when the child of a process with several threads starts one.
set_tests_properties(sched.DeadlockDeathTest.IsFoundInAForkedChild PROPERTIES DISABLED TRUE)
set_tests_properties(sched.Descriptor.AForkedChildWaitsByItself PROPERTIES DISABLED TRUE)
set_tests_properties(sched.PoolAge.AForkedChildHasWholePoolsAndAgesThemAnew PROPERTIES DISABLED TRUE)
set_tests_properties(sched.Fork.InTheChildNeitherWhoComputesNorWhoBlocksHoldsUpTheOthers PROPERTIES DISABLED TRUE)
set_tests_properties(sched.Fork.AChildThatStartsAnewPassesForeignSignalsOn PROPERTIES DISABLED TRUE)

# qemu-user answers success to an madvise() that it does not know, MADV_GUARD_INSTALL for one, and does nothing: stacks have no guard.
set_tests_properties(sched.StackDeathTest.OverflowNamesTheGoroutine PROPERTIES DISABLED TRUE)

# qemu-user sets no limit to the address space of its program: the tests would take all memory of the machine.
set_tests_properties(alloc.Pagemap.FitsIntoALimitedAddressSpace PROPERTIES DISABLED TRUE)
set_tests_properties(sched.Threads.ThatCannotBeMadeAreMadeWhenTheyCan PROPERTIES DISABLED TRUE)

# qemu-user chooses addresses for mmap() itself, from below and not where one just became free.
set_tests_properties(alloc.MisuseDeathTest.ForeignPointerInTheHoleOfAnArenaIsForeign PROPERTIES DISABLED TRUE)

# qemu-user's /proc/self/maps does not mark the heap of sbrk(), and its /proc/self/comm is its own name.
set_tests_properties(alloc.MisuseDeathTest.MemoryAboveTheBreakGoesToTheNextAllocator PROPERTIES DISABLED TRUE)
set_tests_properties(alloc.Os.ReadsSmallFiles PROPERTIES DISABLED TRUE)

# qemu-user does not know epoll_pwait2(), so timeouts are whole milliseconds.
set_tests_properties(sched.Poller.ASubmillisecondTimeoutIsKept PROPERTIES DISABLED TRUE)

# It measures the emulator's use of the processor as well: 5 ms in 3 s, where 3 ms are allowed.
set_tests_properties(sched.Idle.AProgramThatWaitsUsesNoProcessor PROPERTIES DISABLED TRUE)
