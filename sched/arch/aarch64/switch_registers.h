// switch_registers.h - How C++ calls tri_switch() on aarch64: as any function; it saves what the ABI says that a function keeps.
//
// Used by: switch.
#ifndef TRI_SCHED_SWITCH_REGISTERS_H
#define TRI_SCHED_SWITCH_REGISTERS_H

extern "C" void tri_switch(void** save, void* load);

namespace tri::sched {

[[gnu::always_inline]] inline void switch_registers(void** save, void* load) { tri_switch(save, load); }

}  // namespace tri::sched

#endif
