"""`rayops completion`: the script that lets a shell complete verbs, kinds, objects and options."""

from argparse import ArgumentParser

from reconciler.cli.call import Call
from reconciler.cli.exit import Exit

EXAMPLES = """\
  source <(rayops completion bash)         in ~/.bashrc
  source <(rayops completion zsh)          in ~/.zshrc, after compinit
  rayops completion fish | source          in ~/.config/fish/config.fish
"""

# Each script hands over the words up to the cursor and takes one candidate per line; a candidate that ends with a
# slash or an equals sign goes on.
_BASH = """\
_rayops() {
    local line words=("${COMP_WORDS[@]:1:COMP_CWORD}")
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("$line")
    done < <("${COMP_WORDS[0]}" __complete -- "${words[@]}" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/=] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -o default -F _rayops rayops
"""
_ZSH = """\
#compdef rayops
_rayops() {
    local -a found
    found=("${(@f)$("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    found=("${(@)found:#}")
    compadd -Q -S '' -- "${(@M)found:#*[/=]}"
    compadd -Q -- "${(@)found:#*[/=]}"
}
compdef _rayops rayops
"""
_FISH = """\
function __rayops_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    $words[1] __complete -- $words[2..-1] "$current" 2>/dev/null
end
complete -c rayops -f -a '(__rayops_complete)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def arguments(parser: ArgumentParser) -> None:
    """Add what `completion` takes."""
    parser.add_argument("shell", choices=sorted(SCRIPTS), help="the shell")


def run(call: Call) -> Exit:
    """Print the script."""
    call.screen.out.write(SCRIPTS[call.options.shell])
    return Exit.DONE
