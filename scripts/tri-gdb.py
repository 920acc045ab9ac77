"""tri-gdb.py - gdb commands for programs with goroutines, in a live process as well as in a core file:

    info goroutines         each one: id as in tri_report(), name, state, what it waits for and how long, entry, place
    goroutine ID            selects it: bt, up, info locals and the like are about it, until the program goes on
    goroutine ID COMMAND    runs one gdb command about it; all: about each of them in turn
    goroutine none          back to the threads
    goroutine core FILE     writes a core file, with the stacks that gdb's generate-core-file leaves out

gdb loads it by itself where it trusts the place that `cmake --install` has put it to (README.md, "In a debugger");
otherwise: source tri-gdb.py. It reads the library's records by their debug information, so there is nothing in it to be
kept in step but names: those of fields in sched/g.h, p.h, proc.h and arch/*/saved_frame.h, and of a few variables, each
beside that of a function in the same file.

A goroutine that does not run has its registers on its stack. They are shown by an unwinder, not by writing them into a
thread: that works in core files, too, and leaves nothing to be put back. While a goroutine is selected, the unwinder says
of the selected thread's innermost frame (number 0) that its caller is where the goroutine was left: frame 1. Backtraces
leave frame 0 out. A goroutine that runs, blocks in the kernel or was preempted has its frames on a thread, which is
selected instead.
"""
import itertools
import struct
import time

import gdb
import gdb.unwinder

LIBRARY = "libtri.so"
NS = "tri::sched::"
# Of a thread's backtrace, in search of the goroutine's stack behind a signal handler or a blocking call.
MAX_FRAMES = 256


# ---- the library's records ---------------------------------------------------------------------------------------


def plain(value):
    """The scalar in a std::atomic, whichever library it is of."""
    while value.type.strip_typedefs().code == gdb.TYPE_CODE_STRUCT:
        # A static member has no place in it.
        value = value[next(f for f in value.type.strip_typedefs().fields() if hasattr(f, "bitpos"))]
    return value


def number(value):
    return int(plain(value))


def enum_name(value):
    """kWaiting, for what prints as tri::sched::GState::kWaiting."""
    value = plain(value)
    names = {f.enumval: f.name for f in value.type.strip_typedefs().fields()}
    return names.get(int(value), "?").rpartition("::")[2]


def function_symbol(name):
    """Of the library; raises what is in the way, as one clear line."""
    symbol = gdb.lookup_global_symbol(NS + name)
    if symbol is not None and gdb.selected_inferior().pid:
        return symbol
    if not gdb.selected_inferior().pid:
        raise gdb.GdbError("The program is not being run.")
    if not any(LIBRARY in (o.filename or "") for o in gdb.objfiles()):
        raise gdb.GdbError(f"There are no goroutines: {LIBRARY} is not loaded in this process.")
    raise gdb.GdbError(f"{LIBRARY} has no debug information (built as RelWithDebInfo, and not stripped, it has).")


def variable(function, name):
    """One that the file defines that defines the function. By name alone, gdb may find a mere declaration of it."""
    symtab = function_symbol(function).symtab
    for block, full_name in ((symtab.static_block(), f"{NS}(anonymous namespace)::{name}"), (symtab.global_block(), NS + name)):
        for symbol in block:
            if symbol.name == full_name and symbol.addr_class != gdb.SYMBOL_LOC_UNRESOLVED:
                return symbol.value(gdb.selected_frame())  # a thread-local one: the selected thread's
    raise gdb.GdbError(f"{LIBRARY} has no variable {name}: tri-gdb.py is of another version.")


def reason_name(reason):
    """As tri_report() has it: from the table in name_of()."""
    function = function_symbol(f"name_of({NS}WaitReason)")
    for symbol in gdb.block_for_pc(int(function.value().address)):
        if symbol.name == "kNames":
            return symbol.value()[number(reason)].string()
    return enum_name(reason)


class Goroutine:
    """What is known of one record: a goroutine's, or that of a plain thread that has waited in a call of ours."""

    def __init__(self, g):
        self.g = g
        self.address = int(g.address)
        self.slot = number(g["slot"]) + 1
        self.generation = number(g["generation"])
        self.state = enum_name(g["state"])
        self.is_thread = enum_name(g["kind"]) == "kThread"
        self.name = g["name"].string(errors="replace")
        self.sp = int(g["sp"])
        self.top = int(g["stack_top"])
        self.low = self.top - number(g["stack_bytes"])
        self.is_preempted = self.state == "kRunnable" and int(g["pinned"]) != 0
        # It has never run, and has no stack yet.
        self.is_fresh = self.state == "kRunnable" and not self.is_preempted and self.sp == 0
        # Its registers are those of a thread.
        self.is_on_thread = self.is_preempted or self.state == "kRunning"

    @property
    def id(self):
        return f"{self.slot}.{self.generation}" if self.generation else str(self.slot)

    @property
    def title(self):
        kind = "thread" if self.is_thread else "goroutine"
        return f"{kind} {self.id}" + (f' "{self.name}"' if self.name else "")

    def has(self, sp):
        """Whether a stack pointer is within its stack."""
        return self.top != 0 and self.low <= sp <= self.top

    def saved_frame(self):
        """What its last switch has left at sp."""
        return gdb.Value(self.sp).cast(gdb.lookup_type(NS + "SavedFrame").pointer()).dereference()

    def describe_state(self, clock):
        """In the words of tri_report()."""
        reason = self.g["reason"]
        if self.is_thread:
            return f"waits for {reason_name(reason)}" if number(reason) else "runs"
        if self.state == "kWaiting":
            since = number(self.g["since"])
            return f"waits for {reason_name(reason)}" + (f", {clock.age(since)}" if since else "")
        if self.state == "kRunning":
            return "blocks" if enum_name(reason) == "kBlockingCall" else "runs"
        return "preempted" if self.is_preempted else "runnable, not started" if self.is_fresh else "runnable"


class Records:
    """Those of this process, by slot (from 1, as ids have it)."""

    def __init__(self):
        self.count = number(variable("g_count()", "slots"))
        self.chunks = variable("g_count()", "chunks")
        self.per_chunk = int(variable("g_count()", "kChunk"))

    def __getitem__(self, slot):
        """None if nobody has it."""
        if not 0 < slot <= self.count:
            return None
        chunk, i = divmod(slot - 1, self.per_chunk)
        g = (plain(self.chunks[chunk]) + i).dereference()
        return None if enum_name(g["state"]) == "kFree" else Goroutine(g)

    def __iter__(self):
        for slot in range(1, self.count + 1):
            if (g := self[slot]) is not None:
                yield g

    def find(self, text):
        slot, dot, generation = text.partition(".")
        if not slot.isdigit() or (dot and not generation.isdigit()):
            raise gdb.GdbError(f'"{text}" is no id of a goroutine: "info goroutines" lists them.')
        g = self[int(slot)]
        if g is None:
            raise gdb.GdbError(f'There is no goroutine {text}: "info goroutines" lists them.')
        if dot and g.generation != int(generation):
            raise gdb.GdbError(f"There is no goroutine {text} any more: {g.id} has its place.")
        if g.is_thread:
            raise gdb.GdbError(f'{g.id} is a plain thread that waits, no goroutine: "info threads" lists those.')
        return g


class Clock:
    """CLOCK_MONOTONIC of the process. In a core file, or far away, the best clue is what the scheduler has read last."""

    def __init__(self):
        connection = gdb.selected_inferior().connection
        self.is_exact = connection is not None and connection.type == "native"
        self.now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) if self.is_exact else self.last_read()

    @staticmethod
    def last_read():
        sched = variable("yield()", "sched")
        read = [number(sched["last_poll"])]
        for i in range(sched["ps"].type.range()[1] + 1):
            p = plain(sched["ps"][i])
            if int(p) == 0:
                break
            read += [number(p["coarse_now"]), number(p["seen_slice_since"])]
        return max(read)

    def age(self, since):
        ms = max(self.now - since, 0) // 1_000_000
        return f"{ms} ms" if self.is_exact else f"at least {ms} ms"


# ---- frames ------------------------------------------------------------------------------------------------------


class FrameId:
    def __init__(self, sp, pc):
        self.sp, self.pc = sp, pc


class GoroutineUnwinder(gdb.unwinder.Unwinder):
    """While a goroutine is selected: the caller of the selected thread's frame 0 is where the goroutine was left."""

    def __init__(self):
        super().__init__("goroutine")
        self.enabled = False
        self.goroutine = None
        self.ptid = None
        self.moment = 0  # counts how often the program went on

    def is_for_selected_thread(self):
        thread = gdb.selected_thread()
        return self.enabled and thread is not None and thread.ptid == self.ptid

    def __call__(self, pending_frame):
        if pending_frame.level() != 0 or not self.is_for_selected_thread():
            return None
        saved = self.goroutine.saved_frame()
        sp = gdb.Value(self.goroutine.sp).cast(gdb.lookup_type("unsigned long"))
        # An address below all frames of the goroutine: gdb ends a backtrace where a caller stands below its callee.
        info = pending_frame.create_unwind_info(FrameId(sp, saved["return_address"]))
        for name, value in saved_registers(pending_frame, saved):
            info.add_saved_register(name, value)
        # The stack as it is when the next switch has returned to it.
        info.add_saved_register("sp" if is_aarch64(pending_frame) else "rsp", sp + saved.type.sizeof)
        return info


def is_aarch64(frame):
    return frame.architecture().name().startswith("aarch64")


def saved_registers(frame, saved):
    """Names and values of what a switch has saved."""
    if not is_aarch64(frame):
        yield "rip", saved["return_address"]
        yield "rbp", saved["frame_pointer"]
        return  # the others are in the frame of the function around
    yield "pc", saved["return_address"]
    yield "x29", saved["frame_pointer"]
    for i in range(10):
        yield f"x{19 + i}", saved["x19_to_x28"][i]
    for i in range(8):
        # The ABI keeps the low halves alone.
        low = struct.pack("<QQ", int(saved["d8_to_d15"][i]), 0)
        yield f"v{8 + i}", gdb.Value(low, frame.read_register(f"v{8 + i}").type)


class WithoutFrame0:
    """A frame filter: the thread's own frame does not belong to the goroutine's backtrace."""
    name, priority, enabled = "goroutine", 1000, True

    @staticmethod
    def filter(frames):
        return itertools.islice(frames, 1, None) if unwinder.is_for_selected_thread() else frames


unwinder = GoroutineUnwinder()
gdb.unwinder.register_unwinder(None, unwinder, replace=True)


def show(goroutine, ptid):
    """The thread shows the goroutine's frames from now on; None: its own."""
    unwinder.goroutine, unwinder.ptid = goroutine, ptid
    unwinder.enabled = goroutine is not None
    # Only while it is needed: with any filter, gdb prints backtraces in another way.
    if unwinder.enabled:
        gdb.frame_filters[WithoutFrame0.name] = WithoutFrame0()
    else:
        gdb.frame_filters.pop(WithoutFrame0.name, None)
    gdb.invalidate_cached_frames()


def show_threads():
    if unwinder.enabled:
        show(None, None)


def program_went_on(_):
    unwinder.moment += 1
    show_threads()


gdb.events.cont.connect(program_went_on)
gdb.events.exited.connect(program_went_on)


class Kept:
    """What is selected is put back at the end, unless the program has gone on meanwhile."""

    def __enter__(self):
        self.goroutine, self.ptid, self.moment = unwinder.goroutine, unwinder.ptid, unwinder.moment
        self.thread = gdb.selected_thread()
        self.level = gdb.selected_frame().level()

    def __exit__(self, *_):
        if unwinder.moment != self.moment:
            return
        self.thread.switch()
        if (unwinder.goroutine, unwinder.ptid) != (self.goroutine, self.ptid):
            show(self.goroutine, self.ptid)
        select_frame(self.level)


def select_frame(level):
    frame = gdb.newest_frame()
    while frame.level() < level and frame.older() is not None:
        frame = frame.older()
    frame.select()


def frames(first=0):
    """The selected thread's, from number `first` on."""
    frame = gdb.newest_frame()
    for _ in range(MAX_FRAMES):
        if frame is None:
            return
        if frame.level() >= first:
            yield frame
        frame = frame.older()


def is_of_program(frame):
    return frame.type() != gdb.SIGTRAMP_FRAME and LIBRARY not in (gdb.solib_name(frame.pc()) or "")


def innermost_of_program(first):
    """Of the selected thread: the first frame that is not the library's; the first of all if there is none."""
    found = list(frames(first))
    return next((f for f in found if is_of_program(f)), found[0])


def place_of(frame):
    """consume at main.c:12, or what there is of it."""
    name = frame.name() or hex(frame.pc())
    line = frame.find_sal()
    return f"{name} at {line.symtab.filename.rpartition('/')[2]}:{line.line}" if line.symtab else name


class Threads:
    """Which thread has which goroutine's stack in its backtrace; and which has waited as which record."""

    def __init__(self, goroutines):
        self.by_address = {}
        wanted = [g for g in goroutines if g.is_on_thread]
        if not wanted:
            return
        with Kept():
            show_threads()
            for thread in gdb.selected_inferior().threads():
                thread.switch()
                if (g := self.goroutine_here(wanted) or self.record_here(wanted)) is not None:
                    self.by_address[g.address] = thread

    @staticmethod
    def goroutine_here(wanted):
        for frame in frames():
            sp = int(frame.read_register("sp"))
            if (g := next((g for g in wanted if g.has(sp)), None)) is not None:
                return g
        return None

    @staticmethod
    def record_here(wanted):
        """Of a plain thread; unknown where gdb cannot read thread-local variables, for want of a libthread_db."""
        try:
            address = int(variable(f"ring({NS}M*)", "tri_tls")["g"])
        except gdb.error:
            return None
        return next((g for g in wanted if g.is_thread and g.address == address), None)

    def of(self, goroutine):
        return self.by_address.get(goroutine.address)


def thread_name(thread):
    pid, lwp, _ = thread.ptid
    return f"thread {thread.num} (LWP {lwp or pid})"


def enter(goroutine, threads):
    """Selects what shows the goroutine's frames: its thread, or the unwinder. Returns the number of its first frame."""
    if goroutine.is_fresh:
        raise gdb.GdbError(f"{goroutine.title} has not started: it has no frames.")
    if goroutine.is_on_thread:
        thread = threads.of(goroutine)
        if thread is None:
            raise gdb.GdbError(f"{goroutine.title} runs in a thread whose backtrace does not reach its stack.")
        show_threads()
        thread.switch()
        return 0
    if not goroutine.has(goroutine.sp):
        raise gdb.GdbError(f"{goroutine.title}: its registers are not on its stack.")
    if not goroutine.saved_frame()["return_address"]:
        raise gdb.GdbError(f"{goroutine.title}: its stack is not in this core file. What gdb's generate-core-file leaves "
                           'out, "goroutine core" does not; nor does the kernel.')
    show(goroutine, gdb.selected_thread().ptid)
    return 1


# ---- core files --------------------------------------------------------------------------------------------------


class CoreFile:
    """One that generate-core-file has just written of this process. gdb gives up a mapping at the first page that it cannot
    read, and in those of goroutines' stacks each guard is one, where the kernel has guards without mappings (Linux 6.13)."""
    PAGE = 4096

    def __init__(self, path):
        self.file = open(path, "r+b")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def read(self, layout, offset):
        self.file.seek(offset)
        return struct.unpack("<" + layout, self.file.read(struct.calcsize("<" + layout)))

    def segments(self):
        """Address, end and place in the file of what is in it: ELF's PT_LOAD, by Elf64_Ehdr and Elf64_Phdr."""
        (headers, sections), (size, count) = self.read("QQ", 32), self.read("HH", 54)
        if count == 0xFFFF:  # more than fit: the first section header has the number
            (count,) = self.read("I", sections + 44)
        for i in range(count):
            kind, _, offset, address, _, in_file = self.read("IIQQQQ", headers + i * size)
            if kind == 1 and in_file != 0:
                yield address, address + in_file, offset

    def fill(self, address, end, offset):
        """Writes what can be read of the process; what cannot stays zero."""
        try:
            data = gdb.selected_inferior().read_memory(address, end - address).tobytes()
        except gdb.MemoryError:
            if end - address > self.PAGE:
                middle = address + (end - address) // 2 // self.PAGE * self.PAGE
                self.fill(address, middle, offset)
                self.fill(middle, end, offset + middle - address)
            return
        if any(data):  # the file keeps its holes
            self.file.seek(offset)
            self.file.write(data)


def write_core(path):
    stacks = [g for g in Records() if g.top]
    gdb.execute(f"generate-core-file {path}", to_string=True)
    with CoreFile(path) as core:
        for address, end, offset in list(core.segments()):
            if any(address < g.top and g.low < end for g in stacks):
                core.fill(address, end, offset)
    gdb.write(f"Saved {path}\n")


# ---- commands ----------------------------------------------------------------------------------------------------


def describe(goroutine, threads, clock):
    """A line as in tri_report(). Changes what is selected."""
    text = f"{goroutine.title}: {goroutine.describe_state(clock)}"
    if (thread := threads.of(goroutine)) is not None:
        text += f" in {thread_name(thread)}"
    if goroutine.is_thread:
        return text
    entry = int(goroutine.g["entry"])
    block = gdb.block_for_pc(entry)
    text += f", entry {block.function.print_name if block and block.function else hex(entry)}"
    if goroutine.is_fresh:
        return text
    try:
        return f"{text}, in {place_of(innermost_of_program(enter(goroutine, threads)))}"
    except (gdb.error, gdb.GdbError) as e:
        return f"{text}; {e}"


class Command(gdb.Command):
    """One whose errors are a line each, those of the gdb commands that it runs as well."""

    def invoke(self, argument, from_tty):
        try:
            self.run(argument, from_tty)
        except gdb.error as e:
            raise gdb.GdbError(str(e)) from None


class InfoGoroutines(Command):
    """List the goroutines of this process, and the plain threads that wait in calls of libtri.
The one that is selected has a star."""

    def __init__(self):
        super().__init__("info goroutines", gdb.COMMAND_STATUS)

    def run(self, argument, from_tty):
        del from_tty
        if argument:
            raise gdb.GdbError("info goroutines takes no argument.")
        found = list(Records())
        threads, clock = Threads(found), Clock()
        selected = unwinder.goroutine.address if unwinder.enabled else None
        with Kept():
            for g in found:
                gdb.write(f"{'*' if g.address == selected else ' '} {describe(g, threads, clock)}\n")
        if not found:
            gdb.write("No goroutines.\n")


class GoroutineCommand(Command):
    """Select a goroutine, or run a command about one.
goroutine                 which one is selected
goroutine ID              select it: bt, up, info locals are about it, until the program goes on
goroutine ID COMMAND      run one gdb command about it, as: goroutine 7 bt
goroutine all COMMAND     run it about each goroutine in turn
goroutine none            back to the threads
goroutine core FILE       write a core file with all stacks
ID is what "info goroutines" prints: 7.2, or 7 for whoever has that place now."""

    def __init__(self):
        super().__init__("goroutine", gdb.COMMAND_STACK)

    def run(self, argument, from_tty):
        which, _, command = argument.strip().partition(" ")
        command = command.strip()
        if not which:
            gdb.write(f"[{unwinder.goroutine.title} is selected]\n" if unwinder.enabled else "[No goroutine is selected]\n")
        elif which == "none":
            show_threads()
        elif which == "all":
            self.run_about_all(command, from_tty)
        elif which == "core":
            if not command:
                raise gdb.GdbError("goroutine core: into which file?")
            write_core(command)
        elif command:
            g = Records().find(which)
            with Kept():
                self.run_about(g, Threads([g]), command, from_tty)
        else:
            self.select(Records().find(which))

    @staticmethod
    def select(g):
        threads = Threads([g])
        with Kept():
            line = describe(g, threads, Clock())
        frame = innermost_of_program(enter(g, threads))
        gdb.write(f"[{line}]\n")
        frame.select()
        gdb.execute("frame")

    @staticmethod
    def run_about(g, threads, command, from_tty):
        select_frame(enter(g, threads))
        gdb.execute(command, from_tty)

    def run_about_all(self, command, from_tty):
        if not command:
            raise gdb.GdbError("goroutine all: which command? As: goroutine all bt")
        found = [g for g in Records() if not g.is_thread]
        threads, clock = Threads(found), Clock()
        with Kept():
            for g in found:
                gdb.write(f"\n{describe(g, threads, clock)}\n")
                if g.is_fresh:
                    continue
                try:
                    self.run_about(g, threads, command, from_tty)
                except (gdb.error, gdb.GdbError) as e:
                    # One that cannot be shown does not hide the others.
                    gdb.write(f"{e}\n")


InfoGoroutines()
GoroutineCommand()
