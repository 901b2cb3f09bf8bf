# Completion of resnetd's programs in bash: `. tools/completion/resnetd.bash`. What there is to complete is asked of the programs themselves.

_resnetd_programs() {
  local program=$1 word=${COMP_WORDS[COMP_CWORD]} help
  help=$("$program" --help 2>/dev/null) || return
  if [[ $word == -* ]]; then
    # A flag that takes a value is completed up to its '='.
    COMPREPLY=($(compgen -W "$(grep -oE '^ +--[a-z][a-z_0-9]*(=|\b)' <<<"$help" | tr -d ' ' | sort -u)" -- "$word"))
    [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace
  elif [[ $COMP_CWORD == 1 ]]; then
    # "resnet-bench model ...": a word behind the program's own name that is no argument in capitals.
    COMPREPLY=($(compgen -W "$(grep -oE "(^|usage: | )${program##*/} [a-z]+\b" <<<"$help" | awk '{ print $NF }' | sort -u)" -- "$word"))
  fi
}
complete -o bashdefault -o default -F _resnetd_programs resnetd resnet-convert resnet-bench resnet-classify
