#!/usr/bin/env bash
# Links the built extension anew, so that an ERROR can be raised at each server function it calls (tests/faults), and
# installs it over the other. For an installation that serves nothing but tests, on x86-64.
# usage: tools/matrix/faults.sh PG_CONFIG     (BUILD_DIR: where the extension was built)
set -euo pipefail
cd "$(dirname "$0")/../.."
pg_config=$1
faults=$BUILD_DIR/faults
mkdir -p "$faults"

# These handle errors or cannot have any: they are called when another ERROR would be the end. Invalidations arrive after
# the commit as well, and PostgreSQL's own type cache walks a hash table then. The fault point asks for the transaction's state
# itself; and every statement is started through our hook, those by which a test steers the faults, too.
never='^(ExceptionalCondition|hash_seq_.*|err.*|.*elog_string|EmitErrorReport|FlushErrorState|CopyErrorData|ReThrowError|pg_re_throw|AbortCurrentTransaction|
RollbackAndReleaseCurrentSubTransaction|SetLatch|ResetLatch|LWLockRelease|GetCurrentTimestamp|TimestampDifference.*|strlcpy|
GUC_check_.*|IsTransactionState|standard_ExecutorStart|die|SignalHandler.*|GetUserId|ProcessConfigFile|HeapTupleHeader.*|pg_snprintf|BackgroundWorkerUnblockSignals)$'
objects=("$BUILD_DIR"/pg/*.o "$BUILD_DIR"/core/*.o)
comm -12 <(nm --undefined-only "${objects[@]}" | awk '$1 == "U" {print $2}' | sort -u) \
  <(nm --dynamic --defined-only "$("$pg_config" --bindir)/postgres" | awk '$2 == "T" {print $3}' | sort -u) |
  grep -vE "$(tr -d '\n' <<<"$never")" >"$faults/functions"

# A stub keeps all registers that can hold an argument, names itself to apex_fault_point, and goes on to the function.
{
  cat <<'ASSEMBLY'
.text
enter:
  push %rbp
  mov %rsp, %rbp
  push %rdi; push %rsi; push %rdx; push %rcx; push %r8; push %r9; push %rax; push %r10
  sub $128, %rsp
  movups %xmm0, (%rsp); movups %xmm1, 16(%rsp); movups %xmm2, 32(%rsp); movups %xmm3, 48(%rsp)
  movups %xmm4, 64(%rsp); movups %xmm5, 80(%rsp); movups %xmm6, 96(%rsp); movups %xmm7, 112(%rsp)
  mov %rsp, %r10
  and $-16, %rsp
  sub $16, %rsp
  mov %r10, (%rsp)
  mov %r11, %rdi
  call apex_fault_point
  mov (%rsp), %rsp
  movups (%rsp), %xmm0; movups 16(%rsp), %xmm1; movups 32(%rsp), %xmm2; movups 48(%rsp), %xmm3
  movups 64(%rsp), %xmm4; movups 80(%rsp), %xmm5; movups 96(%rsp), %xmm6; movups 112(%rsp), %xmm7
  add $128, %rsp
  pop %r10; pop %rax; pop %r9; pop %r8; pop %rcx; pop %rdx; pop %rsi; pop %rdi
  pop %rbp
  ret
.section .note.GNU-stack,"",@progbits
ASSEMBLY
  while read -r function; do
    printf '.section .rodata\nname_%s: .asciz "%s"\n.text\n.globl __wrap_%s\n.hidden __wrap_%s\n' "$function" "$function" "$function" "$function"
    printf '__wrap_%s:\n  lea name_%s(%%rip), %%r11\n  call enter\n  jmp __real_%s@PLT\n' "$function" "$function" "$function"
  done <"$faults/functions"
} >"$faults/stubs.S"
sed 's/^/--wrap=/' "$faults/functions" >"$faults/wrap"

g++ -c "$faults/stubs.S" -o "$faults/stubs.o"
g++ -std=c++20 -O1 -g -fPIC -fvisibility=hidden -Iextension/src '-DPGDLLEXPORT=__attribute__((visibility("default")))' \
  -isystem "$("$pg_config" --includedir-server)" -c tests/faults/faults.cpp -o "$faults/faults.o"
g++ -shared -static-libstdc++ -static-libgcc -Wl,--exclude-libs,ALL -Wl,@"$faults/wrap" -o "$faults/apex_saga.so" \
  "${objects[@]}" "$faults/stubs.o" "$faults/faults.o"
install -m 755 "$faults/apex_saga.so" "$("$pg_config" --pkglibdir)/apex_saga.so"
