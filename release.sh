#!/usr/bin/env bash
# Make a release: ./release.sh [--dry-run] [--no-bundle] [--push] major|minor|patch|X.Y.Z
#
# On a clean tree with green checks: bumps the version and the changelog, builds wheel, sdist and the bundle for the
# system it runs on (not with --no-bundle), puts them with their checksums into dist/release.zip, commits and tags.
# Nothing leaves this machine without --push. --dry-run checks, says what would be done, and changes nothing.
# Needs: python3 tools/dev.py test, once, and for the bundle .venv/bin/pip install -c constraints.txt -e ".[release]".
# PYTHON names another Python than that of .venv, CHECKS other checks.
set -euo pipefail
cd "$(dirname "$0")"

dry_run=false bundle=true push=false wish=""
for word in "$@"; do
  case "$word" in
    --dry-run) dry_run=true ;;
    --no-bundle) bundle=false ;;
    --push) push=true ;;
    -*) echo "release.sh: there is no option $word" >&2; exit 2 ;;
    *) wish=$word ;;
  esac
done
[ -n "$wish" ] || { sed -n '2,8p' "$0" >&2; exit 2; }

python=${PYTHON:-.venv/bin/python}
step() { printf '\n== %s\n' "$*"; }
refuse() { echo "release.sh: $*" >&2; exit 1; }

step "tools"
"$python" -c "import hatchling" || refuse "run first: python3 tools/dev.py test"
! $bundle || "$python" -c "import PyInstaller" ||
  refuse "run first: .venv/bin/pip install -c constraints.txt -e '.[release]'; or release with --no-bundle"

step "the tree"
[ -z "$(git status --porcelain)" ] || refuse "the tree is not clean: commit or remove what git status shows"
new=$("$python" tools/bump.py --show "$wish") || exit 1
git rev-parse -q --verify "refs/tags/v$new" >/dev/null && refuse "there is a tag v$new already"
echo "version $new, from $(git rev-parse --short HEAD) on $(git rev-parse --abbrev-ref HEAD)"

step "secrets"
if command -v gitleaks >/dev/null; then
  gitleaks detect --no-git --source=. --no-banner || refuse "gitleaks has found something"
else
  echo "SKIPPED: gitleaks is not installed"
fi

step "checks"
checks() {
  "$python" -m ruff check . && "$python" -m ruff format --check . && "$python" -m mypy &&
    "$python" tools/generate.py --check && "$python" -m pytest -q -n 2
}
if [ -n "${CHECKS:-}" ]; then bash -c "$CHECKS"; else checks; fi || refuse "the checks are red"

if $dry_run; then
  step "dry run: nothing was changed"
  echo "would write version $new, build wheel and sdist$($bundle && echo ' and bundle'), tag v$new$($push && echo ', push')"
  exit 0
fi

step "version and changelog"
undo() { git checkout -q -- src/dataflows/__init__.py CHANGELOG.md; echo "release.sh: stopped; version and changelog are as they were" >&2; }
trap undo ERR
trap 'undo; exit 130' INT TERM
"$python" tools/bump.py "$new"

step "packages"
rm -rf dist
"$python" -m hatchling build -d dist  # the same commit gives the same bytes
if $bundle; then
  "$python" -m PyInstaller --noconfirm --log-level ERROR build_exe.spec
  DATAFLOWS_TEST_COMMAND=dist/dataflows/dataflows "$python" -m pytest -q tests/smoke
  DATAFLOWS_ONE_FILE=1 "$python" -m PyInstaller --noconfirm --log-level ERROR build_exe.spec
fi

step "release.zip"
"$python" tools/pack.py "$new"

step "commit and tag"
git commit -q -m "Version $new" -- src/dataflows/__init__.py CHANGELOG.md
trap - ERR INT TERM
git tag -a "v$new" -m "Version $new"
if $push; then
  git push --atomic origin HEAD "v$new"
else
  echo "nothing was pushed; later: git push --atomic origin HEAD v$new"
fi
step "version $new is in dist/release.zip"
