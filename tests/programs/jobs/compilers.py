"""compilers.py - Compilers, linkers, build tools, debuggers and a solver."""

import re, shutil

from harness import job


def build(run, compiler, source, flags):
    """Compiles, links and runs; the object, the program and what it prints go into the transcript."""
    program = "program" + flags.replace(" ", "")
    run.run(f"{compiler} {flags} -o {program}.o -c", source)
    run.run(f"{compiler} {flags} -o {program} {program}.o")
    run.hash(f"{program}.o", program)
    run.run(run.path(program))


@job("gcc", needs="gcc ld")
def gcc(run):
    for flags in "-O0 -g", "-O2", "-O2 -flto=2 -frandom-seed=1":
        build(run, "gcc", run.input("work.c"), flags)


@job("g++", needs="g++ ld")
def gxx(run):
    for file in "work.cc", "work.h":
        shutil.copy(run.input(file), run.dir)
    build(run, "g++", "work.cc", "-std=c++20 -O1 -g")
    run.run("g++ -std=c++20 -O0 work.h")  # A precompiled header is mapped at a fixed address.
    build(run, "g++", "work.cc", "-std=c++20 -O0")


@job("clang", needs="clang clang++ ld")
def clang(run):
    build(run, "clang", run.input("work.c"), "-O2 -g")
    build(run, "clang++", run.input("work.cc"), "-std=c++20 -O1")


@job("make", needs="make gcc ar")
def make(run):
    names = [f"unit{n}" for n in range(24)]
    for n, name in enumerate(names):
        run.write(f"{name}.c", f"""
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
int {name}(int x) {{ char text[40]; return snprintf(text, 40, "%d", x * {n}) + (x ^ {n}); }}
""")
    run.write("main.c", "".join(f"int {name}(int);\n" for name in names) + "#include <stdio.h>\nint main(void) {\n" +
              "".join(f'  printf("%d\\n", {name}({n}));\n' for n, name in enumerate(names)) + "}\n")
    run.write("Makefile", """
units := $(sort $(wildcard unit*.c))
program: main.o libunits.a
	gcc -o $@ $^
libunits.a: $(units:.c=.o)
	ar rcsD $@ $^
%.o: %.c
	gcc -O1 -MMD -c -o $@ $<
-include $(wildcard *.d)
numbers := 1 2 3 4 5 6 7 8 9
$(foreach n,$(numbers),$(eval phony$(n): ; @echo $(n) $(words $(foreach i,$(units),$(units:.c=$(n))))))
check: program $(numbers:%=phony%)
	./program
""")
    run.note("\n".join(sorted(run.run("make -j2 check", show=False).splitlines())))
    run.hash("libunits.a", "program")
    run.run("make -j2 program")  # Nothing is left to do.
    run.note(len(run.run("make -np program", show=False)) > 10000)


@job("cmake", needs="cmake gcc g++ make")
def cmake(run):
    run.write("source/CMakeLists.txt", """
cmake_minimum_required(VERSION 3.20)
project(Tiny LANGUAGES C CXX)
find_package(Threads REQUIRED)
foreach(n RANGE 60)
  file(WRITE ${CMAKE_BINARY_DIR}/part${n}.c "int part${n}(void) { return ${n}; }")
  list(APPEND parts part${n}.c)
endforeach()
add_library(parts STATIC ${parts})
file(WRITE ${CMAKE_BINARY_DIR}/main.cc "extern \\"C\\" int part7(); int main() { return part7() - 7; }")
add_executable(main main.cc)
target_link_libraries(main PRIVATE parts Threads::Threads)
set(text "")
foreach(n RANGE 3000)
  string(APPEND text "word${n};")
  math(EXPR sum "${n} * ${n} + 1")
endforeach()
list(SORT text ORDER DESCENDING)
string(REGEX REPLACE "word([0-9])" "\\\\1-" text "${text}")
string(SHA256 text "${text}")
message(STATUS "digest ${text} ${sum}")
enable_testing()
add_test(NAME main COMMAND main)
""")
    run.run("cmake -S source -B build -DCMAKE_BUILD_TYPE=Release")
    run.run("cmake --build build -j2", show=False)
    run.hash("build/main", "build/libparts.a")
    run.run("ctest --test-dir build", show=False)


@job("gdb", needs="gdb gcc")
def gdb(run):
    run.run("gcc -g -O0 -o program", run.input("work.c"))
    run.write("script", """
set pagination off
set confirm off
set width 0
set debuginfod enabled off
break insert if value % 3 == 0
run
backtrace
info locals
ptype Entry
finish
print table[7] == 0
python
import collections, gdb
names = collections.Counter(s.type.code for s in gdb.lookup_global_symbol("main").symtab.static_block())
print("symbols", sorted(names.items()))
for round in range(200):
    frame = gdb.selected_frame()
    values = [str(frame.read_var("data")[i]) for i in range(64)]
print("data", hash(tuple(map(int, values))), frame.name())
end
watch sum
continue
continue
delete
info line f_0123
disassemble f_0001
continue
""")
    out = run.run("gdb -nx -batch -x script program", show=False)
    run.note(re.sub(r"0x[0-9a-f]{5,}|process \d+", "...", out))  # The stack moves with the environment.


@job("valgrind", needs="valgrind gcc")
def valgrind(run):
    """Memcheck replaces the functions of the preloaded library, as it does those of the C library."""
    faults = {"clean": "free(p);", "leak": "p = 0;", "overflow": "p[10] = 1; free(p);", "stale": "free(p); return p[1];"}
    for name, fault in faults.items():
        run.write(f"{name}.c", f"""
#include <stdlib.h>
#include <string.h>
int main(void) {{
  for (size_t i = 1; i < 3000; i++) free(realloc(calloc(i, 3), i));
  volatile char *volatile p = malloc(10);
  memset((char *)p, 0, 10);
  {fault}
  return 0;
}}
""")
        run.run(f"gcc -O0 -g -w -o {name} {name}.c")
        run.run(f"valgrind --leak-check=full --error-exitcode=9 --log-file={name}.log ./{name}",
                status=0 if name == "clean" else 9)
        for line in run.read(f"{name}.log").decode().splitlines():  # ==PID== at 0xADDRESS: what matters
            line = re.sub(r"^==\d+== *(.*0x[0-9A-F]+: )?", "", line)
            if re.search(rf"definitely lost in|Invalid|ERROR SUMMARY|\({name}\.c:", line):
                run.note(line)


def pigeons(holes):
    """More pigeons than holes: unsatisfiable, and resolution needs long to find out."""
    text = "(set-logic QF_UF)\n"
    for p in range(holes + 1):
        names = [f"p{p}h{h}" for h in range(holes)]
        text += "".join(f"(declare-const {name} Bool)" for name in names) + f"(assert (or {' '.join(names)}))\n"
        text += "".join(f"(assert (not (and p{p}h{h} p{q}h{h})))\n" for q in range(p) for h in range(holes))
    return text + "(check-sat)\n"


@job("z3")
def z3(run):
    seeded = "z3 smt.random_seed=1 sat.random_seed=1"
    for name in "bitvectors", "arrays", "reals", "quantifiers":
        run.run(seeded, run.input(f"{name}.smt2"))
    run.run(seeded, run.write("pigeons.smt2", pigeons(8)))
