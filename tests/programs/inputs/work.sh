# work.sh - Arrays, expansions, pipelines, subshells and coprocesses in bash.
declare -A table
seed=17
for ((i = 0; i < 25000; i++)); do
  ((seed = (seed * 1103515245 + 12345) & 0x7fffffff))
  printf -v key '%x' $((seed >> 20))
  table[$key]+=$i,
  ((i % 7 == 0)) && unset "table[${key/1/2}]"
done
echo "table ${#table[@]}"
for key in "${!table[@]}"; do echo "$key=${table[$key]}"; done | sort | sha256sum
list=()
for ((i = 0; i < 12000; i++)); do list+=("item-$((i * 7919 % 12007))"); done
sorted=($(printf '%s\n' "${list[@]}" | sort))
echo "sorted ${#sorted[@]} ${sorted[1234]} ${sorted[*]: -1}"
text=$(printf '%s ' "${list[@]}")
echo "expand ${#text} $(echo "${text//item-/x}" | cksum) $(echo "${text^^}" | cksum)"
for ((i = 0; i < 200; i++)); do value=$(echo $((i * i)) | { read -r n; echo $((n + 1)); }); done
echo "pipelines $value"
coproc doubler { while read -r n; do echo $((n * 2)); done; }
for n in 1 22 333; do echo "$n" >&"${doubler[1]}"; read -r answer <&"${doubler[0]}"; echo "coprocess $answer"; done
for n in 1 2 3 4; do (s=0; for ((j = 0; j < 5000; j++)); do ((s += j * n)); done; exit $((s % 100))) & pids[n]=$!; done
for n in 1 2 3 4; do wait "${pids[n]}"; echo "job $n $?"; done
mapfile -t lines < <(seq 1 20000); echo "mapfile ${#lines[@]} ${lines[777]}"
[[ $text =~ item-([0-9]+)\ item-([0-9]+) ]] && echo "match ${BASH_REMATCH[*]}"
